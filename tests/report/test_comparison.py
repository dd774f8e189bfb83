from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segshift.engine.read_recipe import validate_recipe
from segshift.engine.run import Run
from segshift.errors import DataError, MissingDataError, RecipeError, UnknownNameError, WeightsError
from segshift.report.comparison import compare_runs, describe_intervals
from segshift.report.folders import open_runs
from segshift.report.tables import footnotes, to_csv
from tests.report.conftest import write_scores

MakeRun = Callable[..., Run]
Shares = Callable[..., np.ndarray]


def test_values_and_differences_in_closed_form(make_run: MakeRun, shares: Shares) -> None:
    # A class with n pixels of which a share s is right has IoU s / (2 - s): n s right, n (1 - s) missed, n (1 - s) wrongly claimed.
    source = make_run("source", {"fog": shares([0.5] * 12)})
    make_run("better", {"fog": shares([0.8] * 12)}, parent=source)
    comparison = compare_runs(open_runs([source.path.parent]))
    first, second = comparison.rows
    assert (first.name, first.is_source, second.name, second.depth) == ("source", True, "better", 1)
    assert first.cells["fog"].miou.value == pytest.approx(0.5 / 1.5)
    assert first.cells["fog"].difference is None
    difference = second.cells["fog"].difference
    assert difference is not None
    assert difference.value == pytest.approx(0.8 / 1.2 - 0.5 / 1.5)
    # Every image is alike, so every resample is: the interval is a point.
    assert (difference.low, difference.high) == pytest.approx((difference.value, difference.value))
    assert not second.cells["fog"].within_noise


def test_difference_within_noise(make_run: MakeRun, shares: Shares) -> None:
    generator = np.random.default_rng(1)
    hard, changed = generator.uniform(0.3, 0.9, 30), generator.normal(0, 0.05, 30)
    source = make_run("source", {"fog": shares(list(hard))})
    run = make_run("same", {"fog": shares(list(np.clip(hard + changed, 0, 1)))}, parent=source)
    cell = compare_runs([source, run]).rows[1].cells["fog"]
    assert cell.within_noise
    assert cell.difference is not None
    # Pairing removes what makes images hard for both.
    assert cell.difference.high - cell.difference.low < (cell.miou.high - cell.miou.low) / 2


def test_source_is_root_ancestor_and_added_when_not_named(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 12)})
    middle = make_run("middle", {"fog": shares([0.6] * 12)}, parent=source)
    last = make_run("last", {"fog": shares([0.8] * 12)}, parent=middle)
    rows = compare_runs([last]).rows
    assert [(row.name, row.depth) for row in rows] == [("source", 0), ("last", 2)]
    assert rows[1].cells["fog"].difference is not None
    assert rows[1].cells["fog"].difference.value == pytest.approx(0.8 / 1.2 - 0.5 / 1.5)


def test_repairs_share_a_source_model_that_is_not_named(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 12)})
    repairs = [make_run(name, {"fog": shares([0.8] * 12)}, parent=source) for name in ("one", "two")]
    comparison = compare_runs(repairs)
    assert [[row.name for row in group] for group in comparison.groups()] == [["source", "one", "two"]]
    assert [row.cells["fog"].difference is not None for row in comparison.rows] == [False, True, True]
    assert not comparison.notes


def test_several_sources_group_their_descendants(make_run: MakeRun, shares: Shares) -> None:
    scores = {"dusk": shares([0.5] * 12)}
    plain, jitter = make_run("plain", scores), make_run("jitter", {"dusk": shares([0.7] * 12)})
    runs = [make_run("a", scores, parent=jitter), make_run("b", scores, parent=plain), plain, jitter]
    comparison = compare_runs(runs)
    assert [[row.name for row in group] for group in comparison.groups()] == [["jitter", "a"], ["plain", "b"]]
    by_name = {row.name: row for row in comparison.rows}
    assert by_name["b"].cells["dusk"].difference.value == 0
    assert by_name["a"].cells["dusk"].difference.value == pytest.approx(0.5 / 1.5 - 0.7 / 1.3)


def test_other_images_under_one_label_have_a_column_of_their_own(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 12)}, fingerprints={"fog": "one"})
    others = [
        make_run(name, {"fog": shares([0.8] * 12)}, fingerprints={"fog": "two"}, domains={"fog": "streets::val"}, parent=source) for name in ("one", "two")
    ]
    comparison = compare_runs([source, *others])
    assert [list(row.cells) for row in comparison.rows] == [["fog"], ["fog (streets::val)"], ["fog (streets::val)"]]
    assert [(column.name, column.fingerprint) for column in comparison.columns] == [("fog", "one"), ("fog (streets::val)", "two")]
    told, lacking = comparison.notes
    assert told == "fog (streets::val): other images than fog, and called fog in one, two"
    same = "no difference without a score of source on the same images"
    assert lacking == f"one; two on fog (streets::val): {same}: `segshift evaluate {source.path} --domain 'fog 2:=streets::val'`"
    write_scores(source, "fog 2", shares([0.6] * 12), "streets::val", "two", None)  # what the command writes
    again = compare_runs([source, *others])
    assert [list(row.cells) for row in again.rows] == [["fog", "fog 2"], ["fog 2"], ["fog 2"]]
    assert again.rows[1].cells["fog 2"].difference.value == pytest.approx(0.8 / 1.2 - 0.6 / 1.4)
    assert not again.notes


def test_a_label_of_three_data_sets_has_three_columns_and_one_of_each_images(make_run: MakeRun, shares: Shares) -> None:
    runs = [
        make_run(name, {label: shares([0.5] * 12)}, fingerprints={label: images}, domains={label: domain})
        for name, label, images, domain in (
            ("a", "fog", "one", "streets::test"),
            ("b", "fog", "two", "streets::val"),
            ("c", "fog", "three", "streets::val"),  # the same name for other files
            ("d", "fog", "two", "streets::val"),
        )
    ]
    cells = [list(row.cells) for row in compare_runs(runs).rows]
    assert cells == [["fog"], ["fog (streets::val)"], ["fog (streets::val, three)"], ["fog (streets::val)"]]


def test_a_label_of_other_images_is_found_under_the_source_models_own_label(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 12), "val fog": shares([0.6] * 12)}, fingerprints={"fog": "one", "val fog": "two"})
    other = make_run("other", {"fog": shares([0.8] * 12)}, fingerprints={"fog": "two"}, parent=source)
    comparison = compare_runs([source, other])
    assert list(comparison.rows[1].cells) == ["val fog"]
    assert comparison.rows[1].cells["val fog"].difference.value == pytest.approx(0.8 / 1.2 - 0.6 / 1.4)
    assert not comparison.notes


def test_swapped_labels_are_paired_by_their_images(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 12), "val": shares([0.6] * 12)}, fingerprints={"fog": "one", "val": "two"})
    other = make_run("other", {"fog": shares([0.8] * 12), "val": shares([0.7] * 12)}, fingerprints={"fog": "two", "val": "one"}, parent=source)
    comparison = compare_runs([source, other])
    cells = comparison.rows[1].cells
    assert {name: (cell.evaluation.name, cell.difference is not None) for name, cell in cells.items()} == {"fog": ("val", True), "val": ("fog", True)}
    assert not comparison.notes


def test_a_figure_stands_under_its_own_label_where_another_run_has_it(make_run: MakeRun, shares: Shares) -> None:
    same = {"a": "one", "b": "one"}
    source = make_run("source", {"a": shares([0.5] * 12), "b": shares([0.6] * 12)}, fingerprints=same)
    other = make_run("other", {"b": shares([0.8] * 12)}, fingerprints=same, parent=source)
    comparison = compare_runs([source, other])
    assert [list(row.cells) for row in comparison.rows] == [["a", "b"], ["b"]]
    assert comparison.rows[1].cells["b"].difference.value == pytest.approx(0.8 / 1.2 - 0.6 / 1.4)  # to that of the same label
    assert list(compare_runs([source, other], ["a"]).rows[1].cells) == ["a"]  # where b has no column


def test_every_round_of_a_stream_has_a_difference_whatever_its_source_model_calls_the_images(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.9] * 12), "val": shares([0.5] * 12)}, fingerprints={"fog": "other", "val": "one"})
    rounds = [f"fog, round {number}" for number in (1, 2, 3)]
    stream = make_run("stream", {name: shares([0.8] * 12) for name in rounds}, fingerprints=dict.fromkeys(rounds, "one"), parent=source)
    cells = compare_runs([source, stream]).rows[1].cells
    assert list(cells) == ["val", *rounds[1:]]
    assert all(cell.difference.value == pytest.approx(0.8 / 1.2 - 0.5 / 1.5) for cell in cells.values())


def test_what_was_taken_back_while_a_run_was_tested_is_one_line(make_run: MakeRun, shares: Shares) -> None:
    scores = {name: shares([0.5] * 12) for name in ("clear", "fog", "night")}
    source = make_run("source", scores)
    quiet = {"batches": 12, "not_finite": 0, "collapsed": 0, "resets_of_the_method": 0}
    streams = {"clear": quiet, "fog": quiet | {"not_finite": 1, "collapsed": 2}, "night": quiet | {"resets_of_the_method": 1}}
    runs = [make_run("sar", scores, parent=source, streams=streams), make_run("tent", scores, parent=source, streams=dict.fromkeys(scores, quiet))]
    comparison = compare_runs([source, *runs])
    assert comparison.notes == ("sar: 3 rollbacks in 12 batches (1 not finite, 2 collapsed) on fog; 1 reset of its own in 12 batches on night",)
    assert [row["trouble"] for row in csv.DictReader(io.StringIO(to_csv(comparison)))][3:6] == [
        "",
        "3 rollbacks in 12 batches (1 not finite, 2 collapsed)",
        "1 reset of its own in 12 batches",
    ]


def test_what_lacks_a_difference_is_one_line(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"clear": shares([0.9] * 12)})
    runs = [make_run(name, {"fog": shares([0.8] * 12), "rain": shares([0.8] * 12)}, parent=source) for name in ("one", "two")]
    (note,) = compare_runs([source, *runs]).notes
    command = f"`segshift evaluate {source.path} --domain fog:=streets::test --domain rain:=streets::test`"
    assert note == f"one; two on fog; rain: no difference without a score of source on the same images: {command}"


def test_another_size_than_that_of_the_source_model_is_said_in_one_line(make_run: MakeRun, shares: Shares) -> None:
    def make(name: str, size: list[int] | None, parent: Run | None = None, label: str = "fog") -> Run:
        run = make_run(name, {label: shares([0.5] * 12)}, parent=parent)
        (run.path / "recipe.yaml").write_text(validate_recipe({"data": {"source": "streets", "size": size}}).to_yaml())
        return Run.open(run.path)

    source = make("source", [96, 192])
    same, small, other = make("same", [96, 192], source), make("small", [64, 128], source), make("other", [64, 128], source)
    own, elsewhere = make("own", None, source), make("elsewhere", [64, 128], source, label="rain")
    assert not compare_runs([source, same]).notes
    assert compare_runs([small]).notes == ("small sees its images at 64 x 128, its source model at 96 x 192: the difference is of both",)
    assert compare_runs([same, small, other, own]).notes == (
        "small; other see their images at 64 x 128, their source model at 96 x 192: the difference is of both",
        "own sees its images at their own size, its source model at 96 x 192: the difference is of both",
    )
    assert not any("images at" in note for note in compare_runs([source, elsewhere]).notes)  # no difference
    second = make("second", [96, 192])
    (note,) = compare_runs([small, make("third", [64, 128], second)]).notes
    assert note.startswith("small; third see their images at 64 x 128, their source models at 96 x 192:")


def test_a_size_is_that_of_the_evaluations_where_no_recipe_can_be_read(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 12)})
    repair = make_run("repair", {"fog": shares([0.5] * 12)}, parent=source)
    assert not compare_runs([repair]).notes
    file = repair.path / "evaluations" / "fog.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"size": [16, 32]}))
    assert compare_runs([repair]).notes == ("repair sees its images at 16 x 32, its source model at 32 x 64: the difference is of both",)


def test_same_images_under_another_name_share_a_column(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 12)}, fingerprints={"fog": "one"})
    other = make_run("other", {"streets+fog=0.02": shares([0.8] * 12)}, fingerprints={"streets+fog=0.02": "one"}, parent=source)
    comparison = compare_runs([source, other])
    assert [column.name for column in comparison.columns] == ["fog"]
    assert comparison.rows[1].cells["fog"].difference is not None


def test_two_evaluations_of_the_same_images_in_one_run_stay_two_columns(make_run: MakeRun, shares: Shares) -> None:
    run = make_run("source", {"fog": shares([0.5] * 12), "fog best": shares([0.6] * 12)}, fingerprints={"fog": "one", "fog best": "one"})
    assert [column.name for column in compare_runs([run]).columns] == ["fog", "fog best"]


def test_other_classes_are_not_compared(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 12)})
    other = make_run("other", {"fog": shares([0.5] * 12, classes=2)}, classes=("road", "sky"), parent=source)
    comparison = compare_runs([source, other])
    assert comparison.rows[1].cells == {}
    assert any("scored on 2 classes" in note for note in comparison.notes)


def test_source_without_this_evaluation(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"clear": shares([0.9] * 12)})
    other = make_run("other", {"fog": shares([0.8] * 12)}, parent=source)
    comparison = compare_runs([source, other])
    assert comparison.rows[1].cells["fog"].difference is None
    assert any("no difference without a score of source on the same images" in note for note in comparison.notes)


def test_lost_or_replaced_parent_is_said(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 12)})
    child = make_run("child", {"fog": shares([0.8] * 12)}, parent=source)
    record = source.path / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"identity": "replaced"}))
    comparison = compare_runs([child])
    assert comparison.rows[0].cells["fog"].difference is None
    assert any("is gone or was replaced" in note for note in comparison.notes)
    record.unlink()
    assert any("is gone or was replaced" in note for note in compare_runs([child]).notes)


def test_blocks_are_resampled_together(make_run: MakeRun, shares: Shares) -> None:
    matrices = shares([0.2] * 20 + [0.9] * 20)
    free = compare_runs([make_run("free", {"dusk": matrices})])
    tied = compare_runs([make_run("tied", {"dusk": matrices}, blocks=["first"] * 20 + ["second"] * 10 + ["third"] * 10)])
    one, two = free.rows[0].cells["dusk"].miou, tied.rows[0].cells["dusk"].miou
    assert one.value == two.value
    assert two.high - two.low > 2 * (one.high - one.low)
    assert tied.columns[0].blocks == 3
    assert any("dusk has only 3 blocks of neighbouring frames: few" in note for note in tied.notes)
    assert not free.notes
    assert (two.low, two.high) == (0, 1)  # nothing is known, and an mIoU has a range
    alone = compare_runs([make_run("alone", {"dusk": matrices}, blocks=["one"] * 40)])
    assert any(note.endswith("(40 images in 1 block)") for note in footnotes(alone))
    assert not alone.rows[0].cells["dusk"].miou.exists
    assert any("dusk has only 1 block of neighbouring frames: an interval takes at least 3" in note for note in alone.notes)


def test_two_blocks_give_no_interval_and_one_line_says_why(make_run: MakeRun, shares: Shares) -> None:
    blocks = ["first"] * 6 + ["second"] * 6
    source = make_run("source", {name: shares([0.2] * 6 + [0.9] * 6) for name in ("dusk", "night")}, blocks=blocks)
    repair = make_run("repair", {name: shares([0.4] * 6 + [0.9] * 6) for name in ("dusk", "night")}, blocks=blocks, parent=source)
    comparison = compare_runs([source, repair])
    cells = [row.cells["dusk"] for row in comparison.rows]
    assert not any(interval.exists for interval in (cells[0].miou, cells[1].miou, cells[1].difference))
    assert cells[1].difference.value > 0.05
    assert cells[1].within_noise
    (note,) = comparison.notes
    assert note.startswith("dusk; night have only 2 blocks of neighbouring frames: an interval takes at least 3, so none is given")


@pytest.mark.parametrize(
    ("blocks", "words"),
    [((2,), "none, below 3"), ((3,), "frames: jackknife"), ((2, 30), "frames: expanded percentile bootstrap"), ((30, 4), "; below 30 of them jackknife")],
)
def test_how_intervals_were_made_is_what_these_domains_take(blocks: tuple[int, ...], words: str) -> None:
    told = describe_intervals(blocks)
    assert words in told
    assert ("bootstrap" in told, "jackknife" in told) == (max(blocks) >= 30, any(3 <= count < 30 for count in blocks))


def test_record_and_matrices_must_belong_together(make_run: MakeRun, shares: Shares) -> None:
    run = make_run("source", {"fog": shares([0.5] * 12)})
    file = run.path / "evaluations" / "fog.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"miou": 0.9}))
    with pytest.raises(WeightsError, match="evaluate again"):
        compare_runs([run])


def test_a_figure_on_known_images_has_a_note(make_run: MakeRun, shares: Shares) -> None:
    scores = {"clear": shares([0.9] * 12), "fog": shares([0.5] * 12)}
    known = {"fog": "source learned from the labels of 3 of these 12 images"}
    source = make_run("source", scores, known=known)
    comparison = compare_runs([source, make_run("repair", scores, parent=source, known=known)])
    assert [bool(row.cells[name].known) for row in comparison.rows for name in ("clear", "fog")] == [False, True] * 2
    (note,) = comparison.notes  # once, however many runs inherit it
    assert note.startswith("fog: source learned from the labels of 3 of these 12 images, so this is no test")


def test_domains_are_chosen_by_name(make_run: MakeRun, shares: Shares) -> None:
    run = make_run("source", {"clear": shares([0.9] * 12), "fog": shares([0.5] * 12)})
    assert [column.name for column in compare_runs([run], ["fog"]).columns] == ["fog"]
    with pytest.raises(UnknownNameError, match="did you mean 'fog'"):
        compare_runs([run], ["fogg"])


def test_bad_folders(make_run: MakeRun, shares: Shares, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no run folder"):
        open_runs([tmp_path / "nothing"])
    with pytest.raises(DataError, match="segshift evaluate RUN"):
        compare_runs([make_run("bare")])
    stopped = make_run("stopped", {"fog": shares([0.5])}, status="interrupted")
    with pytest.raises(RecipeError, match="not finished"):
        open_runs([stopped.path])
    assert [run.name for run in open_runs([stopped.path.parent])] == ["bare"]


def test_folder_is_expanded_by_creation_and_a_run_counts_once(make_run: MakeRun) -> None:
    late, early = make_run("a", provenance={"created": "2026"}), make_run("b", provenance={"created": "2024"})
    assert [run.name for run in open_runs([late.path.parent, early.path])] == ["b", "a"]


def test_rows_of_one_name_are_told_apart(make_run: MakeRun, shares: Shares) -> None:
    runs = [make_run(f"seed-{seed}", {"fog": shares([0.5] * 12)}) for seed in (0, 1)]
    for run in runs:
        run.update(name="source")
    assert [row.name for row in compare_runs(runs).rows] == ["source (seed-0)", "source (seed-1)"]
