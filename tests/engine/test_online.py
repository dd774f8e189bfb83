"""Runs of methods that answer a stream: offline with a target, online on their tests, guarded in both."""

from __future__ import annotations

import math
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from segshift.data.domain import parse_domain
from segshift.engine.adapt import adapt, adaptation_recipe
from segshift.engine.calibration import calibrate
from segshift.engine.evaluate import evaluate_run
from segshift.engine.execute import execute
from segshift.engine.logs import Reporter
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.run import Run
from segshift.errors import RecipeError, UnknownNameError
from segshift.methods import Tent
from segshift.models.layers import normalization_layers
from segshift.predict import predict_images
from segshift.report.comparison import compare_runs
from segshift.report.costs import changed_parameters, time_before_tests

FOG = "streets::test?count=6&size=64x32+fog=0.02"
NIGHT = "streets::test?count=6&size=64x32+night@3"
TARGET = "streets::val?count=6&size=64x32+fog=0.02"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = validate_recipe(
        {
            "model": {"encoder": "resnet18"},
            "data": {"source": "streets::train?count=16&size=64x32", "size": [32, 64], "tests": {"fog": FOG, "night": NIGHT}},
            "training": {"epochs": 2, "batch_size": 8},
            "compute": {"workers": 0, "device": "cpu"},
        }
    )
    return execute(recipe, tmp_path_factory.mktemp("source") / "run")


def adapted(source: Run, out: Path, method: str, target: str | None = None, changes: tuple[str, ...] = (), **options: Any) -> Run:
    recipe = adaptation_recipe(source.recipe, method, target=target, options=options, tests={"fog": FOG, "night": NIGHT}, changes=changes)
    return execute(recipe, out, source)


def confusions(run: Run) -> dict[str, np.ndarray]:
    return {evaluation.name: evaluation.confusions for evaluation in run.evaluations()}


def test_without_adaptation_an_online_run_scores_as_its_source(source: Run, tmp_path: Path) -> None:
    run = adapted(source, tmp_path / "none", "none")
    assert run.record["weights_hash"] == source.record["weights_hash"]
    before, after = confusions(source), confusions(run)
    assert all(np.array_equal(before[name], after[name]) for name in ("fog", "night"))


@pytest.mark.parametrize(
    ("method", "options", "before"),
    [("none", {}, False), ("prediction-bn", {}, False), ("tent", {}, False), ("eata", {"anchor": 0}, False), ("eata", {"fisher_images": 4}, True)],
)
def test_a_run_says_what_it_took_before_its_tests(source: Run, tmp_path: Path, method: str, options: dict[str, Any], before: bool) -> None:
    run = adapted(source, tmp_path / "run", method, **options)
    row = next(row for row in compare_runs([source, run]).rows if not row.is_source)
    assert (time_before_tests(row) != "online") == before
    assert (changed_parameters(row) == "online") == (method in ("tent", "eata"))


def test_reset_makes_a_domain_s_figures_independent_of_what_came_before(source: Run, tmp_path: Path) -> None:
    apart = adapted(source, tmp_path / "apart", "tent", lr=0.05)
    together = adapted(source, tmp_path / "together", "tent", changes=("stream.reset=never",), lr=0.05)
    assert np.array_equal(confusions(apart)["fog"], confusions(together)["fog"])
    assert not np.array_equal(confusions(apart)["night"], confusions(together)["night"])
    alone = evaluate_run(Run.open(apart.path), NIGHT, "again", workers=0)
    assert np.array_equal(alone.confusions, confusions(apart)["night"])
    assert apart.record["online"]
    assert apart.record["weights_hash"] == source.record["weights_hash"]  # what it learns while it is tested is not kept
    assert apart.record["identity"] != together.record["identity"]


def test_episodic_answers_are_those_of_the_first_batch(source: Run, tmp_path: Path) -> None:
    run = adapted(source, tmp_path / "episodic", "tent", changes=("stream.reset=batch", "stream.batch_size=2"), lr=0.05)
    frozen = adapted(source, tmp_path / "frozen", "prediction-bn", changes=("stream.batch_size=2",))
    assert np.array_equal(confusions(run)["fog"], confusions(frozen)["fog"])  # TENT answers before its step
    record = next(evaluation.record for evaluation in run.evaluations() if evaluation.name == "fog")
    assert record["protocol"]["prediction"] == "online: adapts while it predicts, episodic (reset before every batch), batches of 2 in time order"
    assert record["protocol"]["stream"]["batches"] == 3


def test_rounds_are_told_one_by_one_and_differ(source: Run, tmp_path: Path) -> None:
    run = adapted(source, tmp_path / "rounds", "tent", changes=("stream.reset=never", "stream.rounds=2"), lr=0.05)
    found = confusions(run)
    assert set(found) == {"fog, round 1", "fog, round 2", "night, round 1", "night, round 2"}
    assert not np.array_equal(found["fog, round 1"], found["fog, round 2"])
    again = execute(run.recipe, run.path, source)  # nothing is tested twice
    assert [e.record["created"] for e in again.evaluations()] == [e.record["created"] for e in run.evaluations()]


def test_a_shuffled_stream_is_scored_in_the_data_s_order(source: Run, tmp_path: Path) -> None:
    run = adapted(source, tmp_path / "shuffled", "none", changes=("stream.order=shuffled",))
    assert np.array_equal(confusions(run)["fog"], confusions(source)["fog"])
    mixed = adapted(source, tmp_path / "mixed", "prediction-bn", changes=("stream.order=shuffled",))
    kept = adapted(source, tmp_path / "kept", "prediction-bn")
    assert not np.array_equal(confusions(mixed)["fog"], confusions(kept)["fog"])  # other images beside each other


@pytest.mark.filterwarnings("ignore::segshift.errors.AdaptationWarning")  # there are few images
def test_offline_the_model_stands_by_itself(source: Run, tmp_path: Path) -> None:
    run = adapted(source, tmp_path / "tent", "tent", TARGET, changes=("stream.rounds=2",), lr=0.05)
    assert not run.record["online"]
    model, before = run.load_model(), source.load_model()
    layers, old = normalization_layers(model), normalization_layers(before)
    learned = {f"{name}.{key}" for name in layers for key in ("weight", "bias", "running_mean", "running_var")}
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before.state_dict()[key])}
    assert changed <= learned
    assert all(not torch.equal(layer.running_mean, old[name].running_mean) for name, layer in layers.items())
    assert run.record["adaptation"]["batches"] == 4
    better = adapt(source, "tent", target=TARGET, lr=0.05, changes=("stream.rounds=2",))
    assert all(torch.equal(a, b) for a, b in zip(better.state_dict().values(), model.state_dict().values(), strict=True))


def test_what_is_learned_before_the_stream_is_kept_for_later_tests(source: Run, tmp_path: Path) -> None:
    run = adapted(source, tmp_path / "ttn", "ttn", images=2, steps=1)
    assert run.record["sees"] == ["source", "source_labels", "target"]
    again = evaluate_run(Run.open(run.path), FOG, "again", workers=0)
    assert np.array_equal(again.confusions, confusions(run)["fog"])
    assert run.record["adaptation"]["source_images"] == 2


@pytest.mark.parametrize("target", [None, TARGET])
def test_a_run_s_guard_is_as_strict_as_its_recipe_says(source: Run, tmp_path: Path, target: str | None) -> None:
    def rollbacks(least: float) -> int:
        changes = (f"stream.least_classes={least}", "stream.batch_size=1", "stream.reset=never")
        run = adapted(source, tmp_path / str(least), "tent", target, changes, lr=0.1)
        streams = [evaluation.record["protocol"]["stream"] for evaluation in run.evaluations()] if target is None else [run.record["adaptation"]]
        return sum(stream["collapsed"] for stream in streams)

    assert rollbacks(0) == 0
    assert rollbacks(0.99) > 0


def test_bad_requests_have_their_line(source: Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="answers each batch for itself and arrives at no model: leave the target out"):
        adaptation_recipe(source.recipe, "prediction-bn", target=TARGET)
    with pytest.raises(RecipeError, match="tuning cl would not count"):
        execute(adaptation_recipe(source.recipe, "tent", "cl", tests={"fog": FOG}), tmp_path / "cl", source)
    with pytest.raises(RecipeError, match="starts from a trained run"):
        execute(adaptation_recipe(source.recipe, "tent", tests={"fog": FOG}), tmp_path / "alone")
    with pytest.raises(RecipeError, match=r"data.target: method adabn sees the target"):
        adaptation_recipe(source.recipe, "adabn")
    with pytest.raises(RecipeError, match="method none answers each batch for itself"):
        adaptation_recipe(source.recipe, "none", target=TARGET)


def test_a_run_that_would_be_a_copy_is_refused(source: Run) -> None:
    with pytest.raises(RecipeError, match=r"name one \(tests: of a study, data\.tests of a recipe, --test on the command line\); or name a target"):
        adaptation_recipe(source.recipe, "tent")
    with pytest.raises(RecipeError, match=r"--test on the command line\)$"):
        adaptation_recipe(source.recipe, "none")
    assert not adaptation_recipe(source.recipe, "eata").data.tests  # learns from the source before it is tested
    with pytest.raises(RecipeError, match="no test is named"):
        adaptation_recipe(source.recipe, "eata", options={"anchor": 0})


def test_options_that_count_for_nothing_are_unknown(source: Run) -> None:
    for method, option, known in (
        ("tent", "dropout", "lr, optimizer, steps (method tent)"),
        ("none", "lr", "none (method none)"),
        ("supervised", "classifier", "domain, loss (method supervised); affine, dropout, statistics (tuning all)"),
    ):
        with pytest.raises(UnknownNameError) as caught:
            adaptation_recipe(source.recipe, method, target=TARGET, options={option: 1})
        assert str(caught.value).startswith(f"unknown option '{option}'")
        assert str(caught.value).endswith(f"Known: {known}")


def test_a_label_that_the_source_has_for_other_images_is_told(source: Run, tmp_path: Path) -> None:
    def say(run: str, parent: Run = source, **tests: str) -> list[str]:
        console = Console(record=True, file=StringIO(), width=400)
        found = execute(adaptation_recipe(source.recipe, "prediction-bn", tests=tests), tmp_path / run, parent, reporter=Reporter(console))
        assert found.record["status"] == "finished"
        return [line for line in console.export_text().splitlines() if "label" in line]

    (line,) = say("other", fog=TARGET, night=NIGHT)
    assert line == (
        f"test fog: {source.name} has this label for other images ({source.recipe.data.tests['fog']}); {source.name} has no score on these to compare with, "
        f"which `segshift evaluate {source.path} --domain 'fog 2:={parse_domain(TARGET)}'` gives"
    )
    (line,) = say("swapped", fog=NIGHT)
    assert line.endswith(f"; compared with the score of {source.name} on the same images, which it calls night")
    assert say("same", fog=FOG) == []
    fixed = execute(adaptation_recipe(source.recipe, "adabn", target=TARGET), tmp_path / "adabn", source)
    assert len(say("grandchild", fixed, fog=TARGET)) == 1
    fixed.update(parent=fixed.record["parent"] | {"path": "../gone"})
    assert say("orphan", fixed, fog=f"{TARGET}+rain@1") == []


def test_the_control_says_that_it_answers_and_no_more(source: Run, tmp_path: Path) -> None:
    run = adapted(source, tmp_path / "none", "none")
    answers = "online: answers each batch for itself, batches of 4 in time order"
    assert run.record["protocol"] == f"sees nothing; from {source.name}; {answers}; touches no parameter and no statistic"
    assert run.evaluations()[0].record["protocol"]["prediction"] == answers


def test_later_rounds_are_compared_with_the_source_on_the_same_images(source: Run, tmp_path: Path) -> None:
    run = adapted(source, tmp_path / "rounds", "none", changes=("stream.rounds=2",))
    comparison = compare_runs([source, run])
    row = next(row for row in comparison.rows if not row.is_source)
    assert set(row.cells) == {"fog", "night", "fog, round 2", "night, round 2"}  # the first round stands beside the source model's test
    assert all(cell.difference is not None and cell.difference.value == 0 for cell in row.cells.values())
    assert not any("no difference" in note for note in comparison.notes)


def test_a_run_that_adapts_while_it_predicts_is_not_used_without_its_method(source: Run, tmp_path: Path) -> None:
    run = adapted(source, tmp_path / "tent", "tent", lr=0.05)
    for use in (lambda: predict_images(run, [tmp_path], tmp_path / "out"), lambda: calibrate(run, TARGET), lambda: adapted(run, tmp_path / "next", "none")):
        with pytest.raises(RecipeError, match=r"adapts while it predicts \(tent\), and without it its weights are those of its source model"):
            use()


def test_an_evaluation_tells_of_its_own_domain_s_rollbacks(source: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first batch of fog breaks; night has nothing to tell."""
    answers, calls = Tent.adapt_and_predict, []

    def breaks(self: Tent, images: Tensor) -> Tensor:
        calls.append(1)
        return answers(self, images) * (math.nan if len(calls) == 1 else 1)

    monkeypatch.setattr(Tent, "adapt_and_predict", breaks)
    run = execute(adaptation_recipe(source.recipe, "tent", tests={"fog": FOG, "night": NIGHT}), tmp_path / "run", source)
    fog, night = (evaluation.record["protocol"]["stream"] for evaluation in run.evaluations())
    assert (fog["not_finite"], night["not_finite"]) == (1, 0)
    assert fog["batches"] == night["batches"] == 2


def test_an_offline_run_says_how_it_met_the_stream(source: Run, tmp_path: Path) -> None:
    recipe = adaptation_recipe(source.recipe, "tent", target=TARGET, changes=("stream.rounds=2", "stream.order=shuffled"))
    run = execute(recipe, tmp_path / "run", source)
    assert "offline: adapts on the target, batches of 4 shuffled, 2 times over, then fixed" in run.record["protocol"]
    with pytest.raises(RecipeError, match=r"stream\.reset: batch unlearns each batch"):
        adaptation_recipe(source.recipe, "tent", target=TARGET, changes=("stream.reset=batch",))


def test_a_source_that_is_not_seen_makes_no_other_run(source: Run) -> None:
    one, other = (adaptation_recipe(source.recipe, "tent", target=TARGET, source=name) for name in (None, "streets::val?count=3&size=64x32"))
    assert one.identity() == other.identity()
    one, other = (adaptation_recipe(source.recipe, "eata", target=TARGET, source=name) for name in (None, "streets::val?count=3&size=64x32"))
    assert one.identity() != other.identity()


def test_what_does_not_train_needs_no_gpu_for_its_parents_precision(source: Run, tmp_path: Path) -> None:
    halved = validate_recipe(source.recipe.model_dump(mode="json"), ("training.precision=16-mixed",))
    recipe = adaptation_recipe(halved, "adabn", target=TARGET)
    assert execute(recipe, tmp_path / "run", source).record["status"] == "finished"


def test_torchrun_is_refused_by_what_runs_in_one_process(source: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match="method tent runs in one process: start it without torchrun"):
        execute(adaptation_recipe(source.recipe, "tent", target=TARGET), tmp_path / "run", source)


@pytest.mark.parametrize("change", ["optimizer.lr=5", "training.epochs=9", "augmentation.flip=0.5"])
def test_a_key_that_counts_for_nothing_is_refused_with_those_that_count(source: Run, change: str) -> None:
    with pytest.raises(RecipeError, match=r"method tent does not train by the recipe, .* its own options: --lr "):
        adaptation_recipe(source.recipe, "tent", target=TARGET, changes=(change,))
    kept = adaptation_recipe(source.recipe, "tent", target=TARGET, changes=("training.batch_size=2", "stream.rounds=2"))
    assert (kept.training.batch_size, kept.stream.rounds) == (2, 2)


def test_the_line_of_a_test_has_its_protocol(source: Run, tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=1000)
    execute(adaptation_recipe(source.recipe, "tent", tests={"fog": TARGET}), tmp_path / "run", source, reporter=Reporter(console))
    assert "; online: adapts while it predicts, reset before every domain, batches of 4 in time order (6 images in" in console.file.getvalue()  # type: ignore[attr-defined]
