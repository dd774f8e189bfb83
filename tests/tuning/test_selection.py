from __future__ import annotations

import pytest
import torch
from torch import nn

from segshift.errors import ModelError, UnknownNameError
from segshift.models import SegmentationModel, create_model
from segshift.tuning import TUNINGS, apply_selection, create_tuning, describe_selection, select_parameters, set_train_mode


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    return create_model("unet", encoder="tf_efficientnet_lite0", classes=11, seed=0)


@pytest.mark.parametrize("name", TUNINGS)
def test_every_tuning_selects_known_names(name: str, model: SegmentationModel) -> None:
    chosen = select_parameters(model, name)
    assert chosen.names <= dict(model.named_parameters()).keys()
    assert chosen.statistics <= dict(model.named_modules()).keys()
    assert 0 < chosen.parameters(model) <= sum(p.numel() for p in model.parameters())


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
    expected = {name for name, _ in model.named_parameters() if any(name.startswith(f"{p}.") for p in (*parts.first_convolutions, *norms, *parts.head))}
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


def test_a_model_without_batch_norm_is_told_what_to_do(model: SegmentationModel) -> None:
    bare = create_model("unet", encoder="convnext_atto", classes=3, decoder_use_norm="identity")
    with pytest.raises(ModelError, match="use the tuning 'cl' or 'all'"):
        select_parameters(bare, "freeze-n-update")
    with pytest.raises(UnknownNameError, match="did you mean 'freeze-n-update'"):
        select_parameters(model, "freeze-and-update")
    with pytest.raises(ModelError, match="convolutions"):
        select_parameters(model, "freeze-n-update", first_convolutions=500)
