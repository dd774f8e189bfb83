"""The similarity ratio: equal to its equations, known where a closed form is, and refused where it means nothing."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

from segshift.diagnose import Diagnosis, LayerShift, ParameterShift, as_diagnosis, compare_parameters, compare_states, read_diagnosis
from segshift.errors import MissingDataError, ModelError, RecipeError, UnknownNameError, WeightsError
from segshift.models import SegmentationModel, create_model
from segshift.models.layers import Layer


def one(clean: Tensor, other: Tensor, threshold: float = 0.01, granularity: str = "layer", null: Tensor | None = None):
    """The shift of a model of one tensor."""
    anatomy = [Layer("w", "convolution", 0)]
    return compare_states(anatomy, {"w": clean}, {"w": other}, threshold, granularity, None if null is None else {"w": null}).layers[0]


def by_definition(clean: np.ndarray, other: np.ndarray, threshold: float, granularity: str) -> float:
    """X of every value, one by one, in float64."""
    groups = zip(clean, other, strict=True) if granularity == "kernel" and clean[0].size > 1 else [(clean, other)]
    unchanged = []
    for before, after in groups:
        z, z_clean = ((values.astype(np.float64) - values.mean(dtype=np.float64)) / values.std(dtype=np.float64) for values in (after, before))
        unchanged += [abs(a - b) < threshold for a, b in zip(z.ravel(), z_clean.ravel(), strict=True)]
    return sum(unchanged) / len(unchanged)


@pytest.mark.parametrize("granularity", ["layer", "kernel"])
@pytest.mark.parametrize("shape", [(8, 6, 3, 3), (40, 12), (200,), (200, 1, 1, 1)])
def test_the_ratio_is_that_of_the_equations(shape: tuple[int, ...], granularity: str) -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(shape, generator=generator) * 0.02 + 0.3
    other = clean * 1.3 + 0.001 * torch.randn(shape, generator=generator)
    found = one(clean, other, 0.05, granularity)
    assert 0.05 < found.similarity < 0.95
    assert found.similarity == pytest.approx(by_definition(clean.numpy(), other.numpy(), 0.05, granularity), abs=1.5 / clean.numel())
    assert found.shift == 1 - found.similarity
    difference = np.linalg.norm((other - clean).double().numpy()) / np.linalg.norm(clean.double().numpy())
    assert found.relative_norm == pytest.approx(difference, rel=1e-4)


def test_a_pure_rescaling_is_hidden_from_the_ratio_and_shown_by_the_norm() -> None:
    clean = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    found = one(clean, 3 * clean + 1)
    assert found.similarity == 1
    assert one(clean, 3 * clean).relative_norm == pytest.approx(2, rel=1e-6)
    sliced = 3 * clean
    sliced[0] *= 2  # another scale for one slice
    assert one(clean, sliced, granularity="kernel").similarity == 1
    assert one(clean, sliced).similarity < 1


def test_one_value_of_many_that_moved_counts_as_one() -> None:
    clean = torch.linspace(-1, 1, 1000)
    other = clean.clone()
    other[500] += 0.02
    assert one(clean, other, threshold=0.01).similarity == pytest.approx(0.999)
    assert one(clean, other, threshold=0.1).similarity == 1


@pytest.mark.parametrize("granularity", ["layer", "kernel"])
def test_groups_without_spread_are_unchanged_where_they_are_equal(granularity: str) -> None:
    ones = torch.ones(6)
    assert one(ones, ones.clone(), granularity=granularity).similarity == 1
    assert one(ones, 2 * ones, granularity=granularity).similarity == 0
    moved = torch.tensor([1.0, 1, 1, 1, 1, 2])
    assert one(ones, moved, granularity=granularity).similarity == pytest.approx(5 / 6)
    assert one(torch.zeros(3), torch.ones(3)).relative_norm == math.inf
    assert one(torch.zeros(3), torch.zeros(3)).relative_norm == 0
    rows = torch.stack([torch.zeros(4), torch.arange(4.0)])
    assert one(rows, rows + torch.tensor([[1.0], [0.0]]), granularity="kernel").similarity == 0.5


def test_the_null_control_is_compared_with_the_same_clean_model() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(50, 50, generator=generator)
    other, null = (clean + scale * torch.randn(50, 50, generator=generator) for scale in (0.1, 0.02))
    found = one(clean, other, null=null)
    assert found.null_similarity == one(clean, null).similarity
    assert found.excess == found.null_similarity - found.similarity > 0
    assert one(clean, other).excess is None


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    return create_model("unet", encoder="resnet18", classes=3, seed=0)


def moved(model: SegmentationModel, *names: str) -> SegmentationModel:
    """A copy in which these tensors are drawn anew."""
    other, generator = deepcopy(model), torch.Generator().manual_seed(1)
    for name in names:
        other.state_dict()[name].normal_(generator=generator)
    return other


FIRST, NORM, LAST = "network.encoder.model.conv1.weight", "network.encoder.model.layer1.0.bn1.weight", "network.segmentation_head.0.weight"
STATISTIC = "network.encoder.model.bn1.running_mean"


def test_what_moved_most_is_what_was_moved(model: SegmentationModel) -> None:
    shift = compare_parameters(model, moved(model, FIRST, STATISTIC, LAST))
    assert {layer.name for layer in shift.layers if layer.shift > 0} == {FIRST, STATISTIC, LAST}
    assert {layer.name for layer in shift.top(2)} == {FIRST, LAST}  # no gradient moves a running statistic
    assert {layer.name: layer.kind for layer in shift.layers}[LAST] == "classifier"
    assert sum(layer.values for layer in shift.learnable) == sum(p.numel() for p in model.parameters())
    assert [layer.shift for layer in shift.top(len(shift.learnable))] == sorted((layer.shift for layer in shift.learnable), reverse=True)


def test_layers_are_consistent_or_fluctuate_over_targets(model: SegmentationModel) -> None:
    shifts = {"fog": compare_parameters(model, moved(model, FIRST, NORM)), "rain": compare_parameters(model, moved(model, FIRST, LAST))}
    diagnosis = Diagnosis("clean", shifts)
    assert diagnosis.agreement(2) == {FIRST: ("fog", "rain"), NORM: ("fog",), LAST: ("rain",)}
    assert list(diagnosis.agreement(2)) == [FIRST, NORM, LAST], "forward order"
    (first, shift), *others = diagnosis.ranked()
    assert first.name == FIRST
    of_first = [next(layer.shift for layer in each.layers if layer.name == FIRST) for each in shifts.values()]
    assert shift == sum(of_first) / 2
    assert {layer.name for layer, _ in others[:2]} == {NORM, LAST}
    assert all(mean == 0 for _, mean in others[2:])


def test_those_that_moved_most_come_by_rank_with_what_tells_them_apart(model: SegmentationModel) -> None:
    null = moved(model, NORM)
    shifts = {
        "fog, thick": compare_parameters(model, moved(model, FIRST, NORM), null=null),
        "rain": compare_parameters(model, moved(model, FIRST, LAST), null=null),
    }
    diagnosis = Diagnosis("clean", shifts)
    rows = list(csv.DictReader(io.StringIO(diagnosis.top_csv(2))))
    ranked = [layer.name for layer, _ in diagnosis.ranked()]
    assert [row["layer"] for row in rows] == ranked[:3], "the two that top-k takes, and what one target alone has"
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert {row["layer"]: row["lists"] for row in rows} == {FIRST: "2", NORM: "1", LAST: "1"}
    for row in rows:
        of_layer = [next(layer for layer in shift.layers if layer.name == row["layer"]) for shift in shifts.values()]
        assert float(row["shift"]) == pytest.approx(sum(layer.shift for layer in of_layer) / 2)
        assert float(row["relative_norm"]) == pytest.approx(sum(layer.relative_norm for layer in of_layer) / 2)
        assert float(row["excess"]) == pytest.approx(float(row["shift"]) - (1 - of_layer[0].null_similarity))
        for target, shift in shifts.items():
            assert [layer.name for layer in shift.ranked()].index(row["layer"]) + 1 == int(row[f"rank in {target}"])
    assert next(float(row["excess"]) for row in rows if row["layer"] == NORM) < 0 < next(float(row["excess"]) for row in rows if row["layer"] == LAST)


def test_what_no_list_has_can_be_what_moved_most_on_the_mean() -> None:
    def shift(*similarities: float) -> ParameterShift:
        layers = (LayerShift(name, "convolution", depth, 10, each, 0.1) for depth, (name, each) in enumerate(zip("abc", similarities, strict=True)))
        return ParameterShift(tuple(layers), 0.1, "layer")

    diagnosis = Diagnosis("clean", {"fog": shift(0.0, 1.0, 0.1), "rain": shift(1.0, 0.0, 0.1)})
    assert [(row.rank, row.layer.name, row.lists, row.excess) for row in diagnosis.moved_most(1)] == [(1, "c", 0, None), (2, "a", 1, None), (3, "b", 1, None)]


def test_a_null_control_changes_no_ranking(model: SegmentationModel) -> None:
    other, null = moved(model, FIRST, NORM), moved(model, FIRST)
    with_null, without = (Diagnosis("clean", {"fog": compare_parameters(model, other, null=control)}) for control in (null, None))
    assert [layer.name for layer, _ in with_null.ranked()] == [layer.name for layer, _ in without.ranked()]


def test_a_diagnosis_is_read_back_equal(model: SegmentationModel, tmp_path: Path) -> None:
    zeros = deepcopy(model)
    zeros.state_dict()[FIRST].zero_()
    shifts = {"a": compare_parameters(zeros, model, threshold=0.1, granularity="kernel", null=zeros), "b": compare_parameters(zeros, moved(model, LAST))}
    made = Diagnosis("clean", shifts)
    (tmp_path / "diagnosis.json").write_text(made.to_json())
    for path in (tmp_path, tmp_path / "diagnosis.json"):
        read = read_diagnosis(path)
        assert (read.clean, list(read.shifts)) == ("clean", ["a", "b"])
        assert read.shifts["a"] == shifts["a"]
    assert read.shifts["a"].layers[0].relative_norm == math.inf
    rows = list(csv.DictReader(io.StringIO(made.to_csv())))
    assert len(rows) == 2 * len(shifts["a"].layers)
    assert (rows[0]["target"], rows[0]["name"], float(rows[0]["similarity"])) == ("a", FIRST, shifts["a"].layers[0].similarity)
    read.require_model(model, "file")
    with pytest.raises(ModelError, match=r"file is the diagnosis of another model than fpn / resnet18: \d+ tensors differ"):
        read.require_model(create_model("fpn", encoder="resnet18", classes=3, seed=0), "file")


def test_a_file_that_is_no_diagnosis_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="make one with `segshift diagnose"):
        read_diagnosis(tmp_path)
    for text in ("{", "[]", '{"schema": 99, "targets": {"a": []}}', '{"schema": 1, "targets": {}}'):
        (tmp_path / "diagnosis.json").write_text(text)
        with pytest.raises(WeightsError, match="is no diagnosis"):
            read_diagnosis(tmp_path)
    with pytest.raises(RecipeError, match="needs a target"):
        Diagnosis("clean", {})


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Annotations are not executed, as outside of these tests: a wrong type gets as far as it does there."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
def test_a_wrong_type_is_one_line_with_a_remedy(model: SegmentationModel) -> None:
    with pytest.raises(RecipeError, match=r"the folder that `segshift diagnose` wrote, or what ss\.compare_parameters gave, not a int"):
        as_diagnosis(5)  # type: ignore[arg-type]  # what a user may give
    for wrong in ("a", None, True):
        with pytest.raises(RecipeError, match=f"threshold is {wrong!r}: .* a number above 0"):
            compare_parameters(model, model, threshold=wrong)  # type: ignore[arg-type]
    for models, told in (((model, "runs/a"), "other is a str"), (({}, model), "clean is a dict")):
        with pytest.raises(ModelError, match=rf"{told}, not a SegmentationModel: `ss\.compare_parameters` takes run folders too"):
            compare_parameters(*models)


def test_mistakes_are_one_line_with_a_remedy(model: SegmentationModel) -> None:
    with pytest.raises(RecipeError, match=r"threshold is 0\.0: .* a number above 0; 0\.01 for a ResNet-101"):
        compare_parameters(model, model, threshold=0.0)
    with pytest.raises(RecipeError, match="threshold is nan"):
        compare_parameters(model, model, threshold=math.nan)
    with pytest.raises(UnknownNameError, match="did you mean 'kernel'"):
        compare_parameters(model, model, granularity="kernels")
    with pytest.raises(ModelError, match=r"2 of another shape \(network\.segmentation_head\.0\.weight \(3, 16, 3, 3\) / \(4, 16, 3, 3\)"):
        compare_parameters(model, create_model("unet", encoder="resnet18", classes=4, seed=0))
    with pytest.raises(ModelError, match=r"missing there .* only there .*compare models of one architecture"):
        compare_parameters(model, create_model("unet", encoder="mobilenetv2_050", classes=3, seed=0))
    with pytest.raises(ModelError, match="the null control is of another anatomy"):
        compare_parameters(model, model, null=create_model("fpn", encoder="resnet18", classes=3, seed=0))
    for value in (math.nan, math.inf):
        broken = deepcopy(model)
        broken.state_dict()[FIRST][0] = value
        for models in ((model, broken), (broken, model), (model, model, broken)):
            with pytest.raises(ModelError, match=r"conv1\.weight holds values that are not finite"):
                compare_parameters(*models[:2], null=models[2] if len(models) > 2 else None)
    learnable = len(compare_parameters(model, model).learnable)
    for k in (0, learnable + 1):
        with pytest.raises(RecipeError, match=f"the model has {learnable} that learn"):
            compare_parameters(model, model).top(k)
