"""What moved in the runs of a study: found for a tuning within it, and told over its seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from segshift.cli import main
from segshift.diagnose import Diagnosis, read_diagnosis
from segshift.engine.diagnosis import compare_parameters
from segshift.engine.run import Run
from segshift.errors import MissingDataError, RecipeError, UnknownNameError
from segshift.study.diagnosis import diagnose_study, mean_diagnosis, tell_apart
from segshift.study.file import Study
from segshift.study.grid import expand
from segshift.study.jobs import Job, Message, perform
from segshift.study.plan import Domains, Entry, address, write_plan
from tests.study.conftest import STUDY, TINY

TARGET = "streets::val?size=64x32&count=4"
FOGS: dict[str, Any] = {
    "parent": "source",
    "grid": {"weather": {"thin": {"data.target": f"{TARGET}+fog=0.01"}, "thick": {"data.target": f"{TARGET}+fog=0.03"}}},
}
RUNS: dict[str, Any] = {
    "source": {"recipe": TINY},
    "again": {"parent": "source", "target": TARGET},
    "all": FOGS,
    "top": {"parent": "source", "target": TARGET, "tuning": "top-k", "diagnose": "all", "set": {"tuning.k": 3}},
}


def entries_of(out: Path, runs: dict[str, Any]) -> dict[str, Entry]:
    study = Study.model_validate({**STUDY, "runs": runs, "tests": {"clear": STUDY["tests"]["clear"]}})
    return address(expand(study, out), out, Domains())


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Entry]:
    """A study of two seeds, of which one is done."""
    out = tmp_path_factory.mktemp("study") / "out"
    entries = entries_of(out, RUNS)
    write_plan(out, entries, "")
    said: list[Message] = []
    for key, entry in entries.items():
        if entry.planned.recipe.seed == 1:
            continue
        parent, how = entry.planned.parent, entry.planned.diagnose
        folders = [str(entries[other].folder) for other in entry.planned.compared]
        diagnose = how and {"runs": folders, "threshold": how.threshold, "granularity": how.granularity}
        recipe = entry.planned.recipe.model_dump(mode="json")
        perform(Job(key, recipe, str(entry.folder), str(entries[parent].folder) if parent else None, identity=entry.identity, diagnose=diagnose), said.append)
    assert [message.kind for message in said if message.kind not in ("progress", "said")] == ["done"] * 5
    return entries


def out_of(entries: dict[str, Entry]) -> Path:
    return entries["source seed=0"].folder.parent.parent


def test_what_moved_most_is_tuned(entries: dict[str, Entry]) -> None:
    names = ("source seed=0", "all seed=0 weather=thin", "all seed=0 weather=thick", "top seed=0")
    source, thin, thick, tuned = (Run.open(entries[name].folder) for name in names)
    assert tuned.record["tensors_changed"] == 3
    assert [run["identity"] for run in tuned.record["compared"]] == [thin.record["identity"], thick.record["identity"]]
    diagnosis = read_diagnosis(tuned.path / "diagnosis.json")
    assert diagnosis.shifts == {run.name: compare_parameters(source, run) for run in (thin, thick)}
    before, after = source.load_model().state_dict(), tuned.load_model().state_dict()
    learned = {name for name, value in after.items() if not torch.equal(value, before[name]) and "running" not in name and "num_batches" not in name}
    assert learned == {layer.name for layer, _ in diagnosis.ranked()[:3]}


def test_how_it_is_diagnosed_is_part_of_the_run(entries: dict[str, Entry]) -> None:
    changed = {**RUNS, "top": {**RUNS["top"], "diagnose": {"runs": "all", "threshold": 0.02}}}
    others = entries_of(out_of(entries), changed)
    assert [key for key in entries if others[key].identity != entries[key].identity] == ["top seed=0", "top seed=1"]


def test_a_study_is_diagnosed_by_entry(entries: dict[str, Entry]) -> None:
    out = out_of(entries)
    found = diagnose_study(out, "all", "again", 0.05)
    diagnosis, notes = found["source"]
    source, again, thick = (Run.open(entries[f"{name}"].folder) for name in ("source seed=0", "again seed=0", "all seed=0 weather=thick"))
    assert list(diagnosis.shifts) == ["thin", "thick"]
    assert diagnosis.shifts["thick"] == compare_parameters(source, thick, 0.05, null=again)
    assert notes == ["source seed=1 is left out: source seed=1 and others are not done yet"]
    assert list(diagnose_study(out, "again")["source"][0].shifts) == ["again"]
    with pytest.raises(UnknownNameError, match=r"entry of study .* 'al': did you mean 'all'"):
        diagnose_study(out, "al")
    with pytest.raises(RecipeError, match="entry source has no parent to compare with"):
        diagnose_study(out, "source")
    run = Run.open(entries["again seed=0"].folder)
    run.update(status="running")
    try:
        with pytest.raises(MissingDataError, match="nothing of source can be diagnosed yet: source seed=0 is left out"):
            diagnose_study(out, "again")
    finally:
        run.update(status="finished")


def test_numbers_are_told_with_their_axis() -> None:
    parent = {"axes": {"seed": 0, "lr": 0.1}}
    for axes, told in (({"fog": 0.02}, "fog 0.02"), ({"weather": "rain", "tuning.k": 10, "frozen": True}, "rain, k 10, frozen True"), ({}, "all")):
        assert tell_apart(parent, {"entry": "all", "axes": {"seed": 0, "lr": 0.1, **axes}}) == told


def test_the_mean_over_seeds_is_that_of_every_tensor(entries: dict[str, Entry]) -> None:
    shift = diagnose_study(out_of(entries), "all", "again")["source"][0].shifts["thin"]
    halved = replace(
        shift,
        layers=tuple(replace(layer, similarity=layer.similarity / 2, relative_norm=3 * layer.relative_norm, null_similarity=0.0) for layer in shift.layers),
    )
    mean = mean_diagnosis([Diagnosis("clean", {"thin": shift}), Diagnosis("clean", {"thin": halved})])
    for one, both in zip(shift.layers, mean.shifts["thin"].layers, strict=True):
        assert both.name == one.name
        assert both.similarity == pytest.approx(0.75 * one.similarity)
        assert both.relative_norm == pytest.approx(2 * one.relative_norm)
        assert both.null_similarity == pytest.approx((one.null_similarity or 0) / 2)


def test_the_command_takes_a_study(entries: dict[str, Entry], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(out_of(entries))
    for arguments, code, text in (
        ([out, "--entry", "all", "--null", "again", "--top", "5", "--out", str(tmp_path / "found")], 0, "of the 5 layers that moved most"),
        ([out, "--out", str(tmp_path / "none")], 1, "is the folder of a study: name one of its entries, --entry NAME"),
        ([str(entries["source seed=0"].folder), "--entry", "all"], 1, "name the run folders to compare with the clean one"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["diagnose", *arguments])
        assert int(stopped.value.code or 0) == code
        said = capsys.readouterr()
        assert text in said.out + said.err
    assert list(read_diagnosis(tmp_path / "found").shifts) == ["thin", "thick"]
    assert not (tmp_path / "none").exists()
