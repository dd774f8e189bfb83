from __future__ import annotations

import re
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from segshift.diagnose import Diagnosis, compare_parameters
from segshift.errors import MissingDataError, ModelError, RecipeError, UnknownNameError
from segshift.models import SegmentationModel, create_model, first_convolutions
from segshift.tuning import TUNINGS, Tuning, apply_selection, create_tuning, describe_selection, select_parameters, set_train_mode
from tests.models.test_contracts import build, each_pair


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    return create_model("unet", encoder="tf_efficientnet_lite0", classes=11, seed=0)


@pytest.fixture(scope="module")
def diagnosis(model: SegmentationModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `top-k` reads: a model whose stem and one batch norm moved."""
    other = deepcopy(model)
    for name in (STEM, NORM):
        other.state_dict()[name].normal_(generator=torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("diagnosis") / "diagnosis.json"
    path.write_text(Diagnosis("clean", {"fog": compare_parameters(model, other)}).to_json())
    return str(path)


STEM, NORM = "network.encoder.model.conv_stem.weight", "network.encoder.model.bn1.weight"


@pytest.mark.parametrize("name", TUNINGS)
def test_every_tuning_selects_known_names(name: str, model: SegmentationModel, diagnosis: str) -> None:
    tuning = create_tuning(name, **({"diagnosis": diagnosis} if name == "top-k" else {}))
    ours = deepcopy(model)  # lora puts its updates into the model
    chosen = tuning.prepare(ours)
    assert isinstance(tuning, Tuning)
    for phase in chosen.phases or (chosen,):
        assert phase.names <= dict(ours.named_parameters()).keys()
        assert phase.statistics <= dict(ours.named_modules()).keys()
        assert 0 < phase.parameters(ours) <= sum(p.numel() for p in ours.parameters())
        assert phase.names <= tuning.reachable
    assert tuning.rates is None or tuning.rates.keys() == tuning.reachable


UNIONS = {
    "cv+cl": ("cv", "cl"),
    "cv+bn": ("cv", "bn"),
    "bn+cl": ("bn", "cl"),
    "freeze-n-update": ("cv", "bn", "cl"),
    "all": ("all", "cv", "bn", "cl", "bitfit", "random-k"),
}


@each_pair
def test_strategies_are_unions_of_their_parts_in_every_model(architecture: str, encoder: str) -> None:
    model = build(architecture, encoder)
    norms = {name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    options = {"first_convolutions": 3}
    for name, parts in UNIONS.items():
        if not norms and "bn" in parts:
            continue
        chosen = select_parameters(model, name, **(options if "cv" in parts and name != "all" else {}))
        own = [select_parameters(model, part, **(options if part == "cv" else {})) for part in parts]
        assert chosen.names == frozenset().union(*(each.names for each in own)), name
        assert chosen.statistics == frozenset().union(*(each.statistics for each in own)), name
    first = select_parameters(model, "cv", first_convolutions=3).names
    assert {name.rpartition(".")[0] for name in first} == set(first_convolutions(model, 3))
    assert select_parameters(model, "encoder-frozen") == select_parameters(model, "cl")
    biases = select_parameters(model, "bitfit")
    assert biases.names == {name for name, _ in model.named_parameters() if name.endswith(".bias")}
    assert not biases.statistics
    if norms:
        assert select_parameters(model, "bn").statistics == norms
        inside = any(name.startswith(model.parts().encoder[0]) for name in norms)
        assert ("has no batch norm: of batch norms this tuning touches" in select_parameters(model, "bn").note) == (not inside)


@each_pair
def test_gradual_unfreezing_opens_the_whole_encoder_stage_by_stage(architecture: str, encoder: str) -> None:
    model = build(architecture, encoder)
    phases = select_parameters(model, "gradual").phases
    assert phases[0] == select_parameters(model, "cl")
    assert phases[-1].names == select_parameters(model, "all").names
    assert phases[-1].statistics == select_parameters(model, "all").statistics
    assert all(a.names < b.names for a, b in pairwise(phases))
    stem = {name for name, _ in model.named_parameters() if name.startswith(first_convolutions(model))}
    assert stem <= phases[-1].names - phases[-2].names, "the stem comes last"
    assert len(phases) >= 3  # PSPNet drops the stages that it never reads


def test_top_k_are_the_tensors_that_moved_most(model: SegmentationModel, diagnosis: str) -> None:
    chosen = select_parameters(model, "top-k", diagnosis=diagnosis, k=2)
    assert chosen.names == {STEM, NORM}
    assert chosen.statistics == {"network.encoder.model.bn1"}
    count = len(list(model.parameters()))
    for k in (0, count + 1):
        with pytest.raises(RecipeError, match=f"k is {k} and unet / tf_efficientnet_lite0 has {count} tensors"):
            select_parameters(model, "top-k", diagnosis=diagnosis, k=k)
    with pytest.raises(ModelError, match="is the diagnosis of another model than fpn"):
        select_parameters(create_model("fpn", encoder="resnet18", classes=3, seed=0), "top-k", diagnosis=diagnosis)
    with pytest.raises(MissingDataError, match="no diagnosis at"):
        select_parameters(model, "top-k", diagnosis="nowhere")


def test_random_tensors_depend_on_their_draw_alone(model: SegmentationModel) -> None:
    chosen = [select_parameters(model, "random-k", k=12, draw=draw).names for draw in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert {len(names) for names in chosen} == {12}


def test_the_switches_are_independent(model: SegmentationModel) -> None:
    norms = {name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    scales = {f"{name}.{key}" for name in norms for key in ("weight", "bias")}
    plain = select_parameters(model, "cl")
    frozen = select_parameters(model, "cl", affine=False)
    assert (frozen.names, frozen.statistics, frozen.dropout) == (plain.names - scales, plain.statistics, True)
    moving = select_parameters(model, "cl", statistics=True)
    assert (moving.names, moving.statistics) == (plain.names, norms)
    assert select_parameters(model, "cl", statistics=False).statistics == frozenset()
    whole = select_parameters(model, "cv", affine=True, statistics=False, dropout=False)
    assert whole.names == select_parameters(model, "cv").names | scales
    assert (whole.statistics, whole.dropout) == (frozenset(), False)
    with pytest.raises(RecipeError, match="leaves this tuning nothing that learns"):
        select_parameters(model, "bn", affine=False)


def test_the_classifier_is_everything_after_the_encoder(model: SegmentationModel) -> None:
    chosen = select_parameters(model, "cl")
    after = {name for name, _ in model.named_parameters() if not any(name.startswith(f"{e}.") for e in model.parts().encoder)}
    assert chosen.names == after
    last = select_parameters(model, "cl", classifier="last")
    assert last.names < chosen.names
    assert last.parameters(model) == 16 * 9 * 11 + 11
    assert last.statistics == frozenset()


def test_freeze_n_update_is_the_union_of_its_three_parts(model: SegmentationModel) -> None:
    chosen = select_parameters(model, "freeze-n-update")
    norms = {name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    parts = model.parts()
    expected = {name for name, _ in model.named_parameters() if any(name.startswith(f"{p}.") for p in (*first_convolutions(model), *norms, *parts.head))}
    assert chosen.names == expected
    assert chosen.statistics == norms


def test_the_sheets_counts_for_deeplabv3plus_with_resnet101() -> None:
    """The reference's head: 58,753,459 parameters; the four learnable counts of the method's sheet."""
    model = create_model("deeplabv3plus", encoder="resnet101", classes=19, head="reference")
    assert sum(p.numel() for p in model.parameters()) == 58_753_459
    counts = {
        (None, "head"): 16_581_043,
        (None, "last"): 336_307,
        (10, "head"): 16_564_659,
        (10, "last"): 319_923,
    }
    for (first, classifier), count in counts.items():
        assert select_parameters(model, "freeze-n-update", first_convolutions=first, classifier=classifier).parameters(model) == count


def test_selecting_changes_nothing_and_applying_sets_the_gradients() -> None:
    model = create_model("unet", encoder="resnet18", classes=3, seed=0)
    chosen = select_parameters(model, "cl")
    assert all(p.requires_grad for p in model.parameters())
    apply_selection(model, chosen)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == chosen.names


def test_train_mode_keeps_frozen_norms_in_evaluation() -> None:
    model = create_model("unet", encoder="resnet18", classes=3, seed=0)
    chosen = select_parameters(model, "cl")
    set_train_mode(model, chosen)
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.training == (name in chosen.statistics)


@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize(("encoder", "kind"), [("mit_b0", "DropPath"), ("resnet18", "Dropout")])
def test_dropout_drops_where_its_switch_says_so(encoder: str, kind: str, dropout: bool) -> None:
    model = create_model("deeplabv3plus" if encoder == "resnet18" else "segformer", encoder=encoder, classes=3, seed=0)
    dropping = [module for module in model.modules() if type(module).__name__ == kind]
    assert dropping
    set_train_mode(model, select_parameters(model, "all", dropout=dropout))
    assert {module.training for module in dropping} == {dropout}


def test_no_backward_pass_goes_through_a_frozen_front() -> None:
    model = create_model("unet", encoder="resnet18", classes=3, seed=0)
    apply_selection(model, select_parameters(model, "cl"))
    outputs = model.outputs(torch.rand(2, 3, 32, 32))
    outputs.logits.sum().backward()
    assert all(not feature.requires_grad for feature in outputs.features)
    assert all(p.grad is None for n, p in model.named_parameters() if n.startswith("network.encoder"))


def test_the_table_adds_up(model: SegmentationModel) -> None:
    *parts, total = describe_selection(model, create_tuning("freeze-n-update").prepare(model))
    for column in ("tensors", "tensors_learn", "parameters", "parameters_learn", "norms", "norms_learn", "statistics_update"):
        assert sum(getattr(row, column) for row in parts) == getattr(total, column)
    assert total.norms_learn == total.norms == total.statistics_update
    rows = describe_selection(model, select_parameters(model, "cl", statistics=False))
    assert [row.norms_learn == row.norms for row in rows] == [False, True, True, False]
    assert [row.statistics_update for row in rows] == [0, 0, 0, 0]
    *_, biases = describe_selection(model, select_parameters(model, "bitfit"))
    assert biases.norms_learn == biases.norms  # their shifts learn


def test_a_selection_is_told_in_a_line(model: SegmentationModel) -> None:
    assert re.fullmatch(r"Selection\(\d+ tensors learn, statistics of \d+ batch norms move, dropout on\)", repr(select_parameters(model, "cl")))
    assert repr(select_parameters(model, "lp-ft")).endswith("the first of 2 phases)")


@pytest.mark.parametrize(
    ("tuning", "options", "says"),
    [
        ("cv", {"k": 3}, "tuning cv has no option 'k'. Known: first_convolutions, affine, statistics, dropout"),
        ("auto-snr", {"treshold": 0.1}, "did you mean 'threshold'"),
        ("all", {"k": 1}, "tuning all has no option 'k'. Known: affine"),
        ("cv", {"first_convolutions": 2.5}, "tuning cv: first_convolutions is 2.5, and takes a whole number"),
        ("random-k", {"k": "x"}, "tuning random-k: k is 'x', and takes a whole number"),
    ],
)
def test_wrong_options_are_named(tuning: str, options: dict[str, Any], says: str, model: SegmentationModel) -> None:
    with pytest.raises((RecipeError, UnknownNameError), match=re.escape(says)) as caught:
        select_parameters(model, tuning, **options)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_model() -> None:
    with pytest.raises(TypeError, match=r"model is 'runs/source': give a SegmentationModel, from ss\.create_model or"):
        select_parameters("runs/source", "cv")


def test_a_model_without_batch_norm_is_told_what_to_do(model: SegmentationModel) -> None:
    bare = create_model("unet", encoder="convnext_atto", classes=3, decoder_use_norm="identity")
    with pytest.raises(ModelError, match="use the tuning 'cl' or 'all'"):
        select_parameters(bare, "freeze-n-update")
    with pytest.raises(UnknownNameError, match="did you mean 'freeze-n-update'"):
        select_parameters(model, "freeze-and-update")
    with pytest.raises(ModelError, match="convolutions"):
        select_parameters(model, "freeze-n-update", first_convolutions=500)
