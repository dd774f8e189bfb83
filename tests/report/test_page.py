from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest

from segshift.engine.run import Run
from segshift.errors import UnknownNameError
from segshift.report.comparison import Comparison, compare_runs
from segshift.report.page import build_page

MakeRun = Callable[..., Run]
Shares = Callable[..., np.ndarray]
DOMAINS = {"clear": "streets::test", "fog 0.02": "streets::test+fog=0.02"}
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Outline(HTMLParser):
    """Tags, references, headings and texts of a page; it fails on a tag that is closed in the wrong place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for key, value in attributes if key in ("src", "href", "xlink:href", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def comparison(make_run: MakeRun, shares: Shares) -> Comparison:
    scores = {"clear": shares([0.9] * 12), "fog 0.02": shares([0.5] * 12)}
    source = make_run("source", scores, domains=DOMAINS)
    repair = make_run("repair", {"fog 0.02": shares([0.8] * 12)}, domains=DOMAINS, parent=source, labels_used=16)
    repair.update(name="<script>alert('x')</script> & co")
    return compare_runs([source, repair])


def read(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert outline.open == []
    return outline


def test_page_needs_no_network_and_no_script(comparison: Comparison) -> None:
    page = build_page(comparison, images=0)
    outline = read(page)
    assert not re.search(r"https?://", page)
    assert all(reference.startswith(("#", "data:")) for reference in outline.references)
    assert not {"script", "link", "iframe"} & set(outline.tags)
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_names_are_escaped(comparison: Comparison) -> None:
    page = build_page(comparison, title="<b>bold</b>", images=0)
    assert "<script" not in page
    assert "<b>" not in page
    assert "<script>alert('x')</script> & co" in "".join(read(page).text)


def test_page_has_result_table_figures_protocol_and_provenance(comparison: Comparison) -> None:
    outline = read(build_page(comparison, images=0))
    text = " ".join(" ".join(outline.text).split())
    assert "the shift costs 48.5 points" in text
    assert "wins back +33.3" in text
    assert "33.3 [33.3, 33.3]" in text
    assert "+33.3 [+33.3, +33.3]" in text
    assert outline.tags.count("svg") == 2  # the curve over fog, the bars of the classes
    assert outline.tags.count("figcaption") == 2
    for words in (
        "one confusion matrix over the whole data set",
        "jackknife with Student's t",
        "sees what it sees",
        "tested checkpoint: last",
        "streets::test+fog=0.02",
    ):
        assert words in text
    for row in comparison.rows:
        assert str(row.run.path) in text
        assert row.run.record["identity"] in text
    for words in ("segshift train", "torch 2.11", "commit abc", "device cpu", "seed 0"):
        assert words in text


def test_the_choice_of_domains_and_known_images_are_said(make_run: MakeRun, shares: Shares) -> None:
    scores = {"clear": shares([0.9] * 12), "fog 0.02": shares([0.5] * 12), "dusk": shares([0.4] * 12)}
    known = {"dusk": "source learned from the labels of 3 of these 12 images"}
    runs = [make_run("source", scores, domains=DOMAINS, known=known)]
    text = " ".join(" ".join(read(build_page(compare_runs(runs), images=0)).text).split())
    assert "Of 3 evaluated domains fog 0.02 is shown, because" in text
    assert text.count("no test ") == 2  # its cell and the note
    assert "dusk: source learned from the labels of 3 of these 12 images, so this is no test" in text
    text = " ".join(" ".join(read(build_page(compare_runs(runs), images=0, domain="dusk")).text).split())
    assert "dusk is shown, because it was asked for; clear stands for home" in text
    assert "No test on dusk: source learned from the labels of 3 of these 12 images." in text


def test_an_unknown_domain_is_refused_before_anything_is_drawn(comparison: Comparison) -> None:
    with pytest.raises(UnknownNameError, match=r"Known: clear, fog 0\.02"):
        build_page(comparison, domain="fog")


def test_validation_stands_in_the_provenance(make_run: MakeRun, shares: Shares) -> None:
    entry = {"fingerprint": "ab", "images": 4, "labels_used": 4}
    data = {"source": {"domain": "streets::train", **entry}, "validation": {"domain": "streets::val", **entry}}
    text = " ".join(read(build_page(compare_runs([make_run("source", {"clear": shares([0.9] * 12)}, data=data)]), images=0)).text)
    assert "source: streets::train (4 images, with labels, ab); validation, to choose the checkpoint: streets::val (4 images, with labels, ab)" in text


def test_lost_data_are_said(comparison: Comparison) -> None:
    outline = read(build_page(comparison, images=2))
    assert "Not drawn: " in " ".join(outline.text)
    assert outline.tags.count("svg") == 2


def test_unpaired_evaluations_show_a_note(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"fog": shares([0.5] * 12)}, fingerprints={"fog": "one"})
    other = make_run("other", {"fog": shares([0.8] * 12)}, fingerprints={"fog": "two"}, parent=source)
    text = " ".join(read(build_page(compare_runs([source, other]), images=0)).text)
    assert "fog (streets::test): other images than fog" in text
