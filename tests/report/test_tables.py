from __future__ import annotations

import csv
import io
from collections.abc import Callable

import numpy as np
import pytest
from rich.console import Console

from segshift.engine.run import Run
from segshift.metrics import DEFINITION
from segshift.report.comparison import Comparison, compare_runs
from segshift.report.protocols import protocol_lines
from segshift.report.tables import FIELDS, describe_method, print_comparison, to_csv

MakeRun = Callable[..., Run]
Shares = Callable[..., np.ndarray]


@pytest.fixture
def comparison(make_run: MakeRun, shares: Shares) -> Comparison:
    """A source model, one that is better in fog, one that is the same; four domains."""
    names = ["clear", "fog 0.005", "fog 0.01", "fog 0.02"]
    scores = {name: shares([0.9 - 0.1 * i] * 12) for i, name in enumerate(names)}
    source = make_run("source", scores)
    better = make_run("better [bold]", {**scores, "fog 0.02": shares([0.8] * 12)}, parent=source, labels_used=16, parameters_changed=10)
    return compare_runs([source, better, make_run("same", {"clear": scores["clear"]}, parent=source)])


def printed(comparison: Comparison, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_comparison(comparison, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_terminal_table_fits_and_cuts_nothing(comparison: Comparison, width: int) -> None:
    text = printed(comparison, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for figure in ("81.8 [81.8, 81.8]", "42.9 [42.9, 42.9]", "+23.8 [+23.8, +23.8]", "~+0.0 [+0.0, +0.0]", "10 (1.0%)"):
        assert figure in text
    assert "better [bold]" in text  # a name is text, not markup
    assert " ".join(DEFINITION.split()) in " ".join(text.split())
    assert "sees what it sees" in text


def test_unmeasured_domain_is_a_dash(comparison: Comparison) -> None:
    line = next(line for line in printed(comparison, 160).splitlines() if line.strip().startswith("same"))
    assert line.split()[-3:] == ["-", "-", "-"]


def test_csv_reads_back(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    assert list(rows[0]) == list(FIELDS)
    assert len(rows) == 3 * 4
    by_key = {(row["run"], row["domain"]): row for row in rows}
    found = by_key["better [bold]", "fog 0.02"]
    assert float(found["miou"]) == pytest.approx(0.8 / 1.2)
    assert float(found["difference"]) == pytest.approx(0.8 / 1.2 - 0.6 / 1.4)
    assert float(found["accuracy"]) == pytest.approx(0.8)
    assert (found["parent"], found["labels_used"], found["images"], found["blocks"]) == ("source", "16", "12", "12")
    assert float(found["share"]) == pytest.approx(0.01)
    assert by_key["source", "clear"]["difference"] == ""
    assert by_key["same", "fog 0.01"]["miou"] == ""


def test_one_block_has_no_interval(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"dusk": shares([0.5])})
    comparison = compare_runs([source, make_run("repair", {"dusk": shares([0.9])}, parent=source)])
    row = list(csv.DictReader(io.StringIO(to_csv(comparison))))[1]
    assert row["low"] == row["difference_low"] == ""
    text = printed(comparison, 100)
    assert "[no interval]" in text
    assert "~+48.5" in text  # nothing is claimed without an interval


def test_method_is_described_by_what_is_not_default(make_run: MakeRun) -> None:
    assert describe_method(make_run("one", method="adabn", method_options={"source_ratio": 0.2, "passes": 1}, tuning=None)) == "adabn source_ratio=0.2"
    auto = make_run("three", method="adabn", method_options={"source_ratio": "auto"}, tuning=None, adaptation={"said": "", "chosen": "0.2"})
    assert describe_method(auto) == "adabn source_ratio=auto (chose 0.2)"
    tuned = make_run("two", method="supervised", method_options={"domain": "target"}, tuning="cl")
    assert describe_method(tuned) == "supervised + cl"


@pytest.mark.parametrize("width", [80, 100])
def test_a_method_is_broken_between_words_only(make_run: MakeRun, shares: Shares, width: int) -> None:
    scores = {"fog": shares([0.5] * 4)}
    source = make_run("a source model of a long name", scores)
    options = {"source_ratio": "auto", "pseudo_count": 20.0, "a_list": ",".join(["encoder.layer"] * 4)}
    chosen = {"adaptation": {"said": "", "chosen": "0.2"}, "seconds": 12_345.0, "statistics_changed": 123_456, "online": True}
    runs = [source, make_run("a repair of a long name", scores, parent=source, method_options=options, **chosen)]
    text = printed(compare_runs(runs), width)
    assert max(map(len, text.splitlines())) <= width
    words = text.partition("what it took")[2].partition("second line")[0].split()
    assert {"source_ratio=auto", "pseudo_count=20", "(chose"} <= set(words)
    listed = [word for word in words if "encoder.layer" in word]
    assert listed == ["encoder.layer,"] * 3 + ["encoder.layer"]  # behind `a_list=`
    assert "a_list=" in words


def test_a_method_stands_on_one_line_where_there_is_room(make_run: MakeRun, shares: Shares) -> None:
    options = {"source_ratio": "auto", "pseudo_count": 20.0, "a_list": ",".join(["encoder.layer"] * 4)}
    run = make_run("repair", {"fog": shares([0.5] * 4)}, method="adabn", method_options=options)
    assert f"{describe_method(run)} " in printed(compare_runs([run]), 200)


def test_whole_numbers_are_written_without_a_fraction(make_run: MakeRun) -> None:
    run = make_run("one", method="adabn", method_options={"pseudo_count": 20.0, "source_ratio": 0.25})
    assert describe_method(run) == "adabn pseudo_count=20 source_ratio=0.25 + all"


def test_an_online_run_is_not_free(make_run: MakeRun, shares: Shares) -> None:
    scores = {"fog": shares([0.5] * 4)}
    source, learned = make_run("source", scores), {"said": "touches norms", "remarks": []}
    online = {"parent": source, "online": True, "seconds": 3.0, "parameters_changed": 0, "statistics_changed": 0}
    runs = [
        make_run("tent", scores, method="tent", adaptation=learned, **online),
        make_run("eata", scores, method="eata", sees=["source", "target"], adaptation=learned | {"fisher_images": 9}, **online),
        make_run("none", scores, method="none", adaptation=learned, **online),
    ]
    comparison = compare_runs([source, *runs])
    rows = {words[0]: words[1:] for line in printed(comparison, 160).partition("what it took")[2].splitlines() if (words := line.split())}
    assert rows["source"][-2:] == ["13s", "0.25"]  # a second for four images
    assert rows["tent"] == ["tent", "online", "online", "0", "online", "0.25"]
    assert rows["eata"] == ["eata", "online", "online", "0", "3s", "0.25"]  # what it learned from the source
    assert rows["none"] == ["none", "0", "0", "0", "online", "0.25"]
    assert "online: the run adapts on each test while it is tested" in printed(comparison, 160)
    lines = {row["run"]: row for row in csv.DictReader(io.StringIO(to_csv(comparison)))}
    figures = ("parameters_changed", "statistics_changed", "seconds", "seconds_per_image")
    found = {name: [lines[name][figure] for figure in figures] for name in ("tent", "eata", "none")}
    assert found == {"tent": ["", "", "", "0.25"], "eata": ["", "", "3.0", "0.25"], "none": ["0", "0", "", "0.25"]}
    assert "test, s/image" not in printed(compare_runs([source]), 160)


def test_what_all_repairs_have_in_common_is_said_once(make_run: MakeRun, shares: Shares) -> None:
    scores = {"fog": shares([0.5] * 4)}
    source = make_run("source", scores)
    online = "sees target; from source; online: batches of 4"
    tent = make_run("tent", scores, parent=source, protocol=f"{online}; touches norms")
    assert protocol_lines(compare_runs([source, tent])) == [
        "source: sees what it sees; offline; tested checkpoint: last",
        "tent: sees target; online: batches of 4; touches norms; tested checkpoint: last",
    ]
    sar = make_run("sar", scores, parent=source, protocol=f"{online}; touches norms")
    eata = make_run("eata", scores, parent=source, protocol=f"{online}; touches nothing")
    later = make_run("later", scores, parent=tent, protocol="sees target; from tent; offline; touches nothing")
    assert protocol_lines(compare_runs([source, tent, sar])) == [
        "source: sees what it sees; offline; tested checkpoint: last",
        "all repairs: sees target; online: batches of 4; touches norms; tested checkpoint: last",
    ]
    assert protocol_lines(compare_runs([source, tent, sar, eata, later])) == [
        "source: sees what it sees; offline; tested checkpoint: last",
        "all repairs: sees target; tested checkpoint: last",
        "tent; sar: online: batches of 4; touches norms",
        "eata: online: batches of 4; touches nothing",
        "later: from tent; offline; touches nothing",
    ]


def test_a_command_of_a_note_can_be_copied(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 4)})
    run = make_run("repair", {"night": shares([0.5] * 4)}, parent=source, domains={"night": "streets::test+night@3"})
    assert f"`segshift evaluate {source.path} --domain night:=streets::test+night@3`" in printed(compare_runs([source, run]), 80)


def test_a_figure_on_known_images_is_marked(make_run: MakeRun, shares: Shares, comparison: Comparison) -> None:
    known = {"fog": "seen learned from the labels of 3 of these 12 images"}
    seen = compare_runs([make_run("seen", {"clear": shares([0.9] * 12), "fog": shares([0.5] * 12)}, known=known)])
    text = printed(seen, 100)
    assert [line.split() for line in text.splitlines()].count(["no", "test"]) == 1
    assert "'no test': labels of some of these images" in " ".join(text.split())
    assert "note: fog: seen learned from the labels of 3 of these 12 images" in text
    assert "no test" not in printed(comparison, 100)
    assert [row["known_images"] for row in csv.DictReader(io.StringIO(to_csv(seen)))] == ["", known["fog"]]
