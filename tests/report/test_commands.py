from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segshift.cli import main
from segshift.engine.run import Run

MakeRun = Callable[..., Run]
Shares = Callable[..., np.ndarray]


@pytest.fixture
def folder(make_run: MakeRun, shares: Shares) -> Path:
    source = make_run("source", {"clear": shares([0.9] * 12), "fog": shares([0.5] * 12)})
    make_run("repair", {"fog": shares([0.8] * 12)}, parent=source)
    return source.path.parent


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_compare_prints_the_table_and_writes_csv(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", folder, "--csv", tmp_path / "out.csv", "--domain", "fog") == 0
    printed = capsys.readouterr().out
    assert "66.7 [66.7, 66.7]" in printed
    assert "+33.3 [+33.3, +33.3]" in printed
    assert "clear" not in printed
    with (tmp_path / "out.csv").open() as file:
        assert [(line["run"], line["domain"]) for line in csv.DictReader(file)] == [("source", "fog"), ("repair", "fog")]


def test_report_writes_one_page(folder: Path, tmp_path: Path) -> None:
    assert run("report", folder / "source", folder / "repair", "--out", tmp_path / "page.html", "--images", 0, "--title", "Fog") == 0
    assert "<h1>Fog</h1>" in (tmp_path / "page.html").read_text()


def test_report_tells_of_the_domain_that_is_named(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run("report", folder, "--out", page, "--images", 0) == 0
    assert "IoU of each class on fog and on clear: source and its repairs" in page.read_text()
    assert run("report", folder, "--out", page, "--images", 0, "--shift", "clear") == 0
    assert "IoU of each class on clear and on fog: source and its repairs" in page.read_text()
    assert run("report", folder, "--out", page, "--images", 0, "--domain", "clear") == 0
    assert "fog" not in page.read_text().split("Provenance")[0]


def test_the_table_and_the_page_name_what_is_not_finished(folder: Path, make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run("half", status="running")
    assert run("compare", folder) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "half (running); let it end" in printed
    assert run("report", folder, "--out", tmp_path / "page.html", "--images", 0) == 0
    assert "half (running); let it end" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("verb", ["compare", "report"])
def test_mistakes_are_one_line(folder: Path, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(verb, tmp_path / "nothing") == 1
    assert run(verb, folder, "--domain", "fogg") == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "no run folder" in said[0]
    assert "did you mean 'fog'" in said[1]
    assert said[1].endswith("Known: clear, fog")
