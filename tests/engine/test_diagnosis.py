"""The diagnosis of run folders is that of their models, and what it writes is whole."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import segshift as ss
from segshift.cli import main
from segshift.cli.diagnose import write
from segshift.diagnose import Diagnosis, read_diagnosis
from segshift.diagnose import compare_parameters as compare_models
from segshift.engine.adapt import adaptation_recipe
from segshift.engine.diagnosis import began_alike, compare_parameters, diagnose_runs, name_runs
from segshift.engine.execute import execute
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.errors import ModelError, RecipeError
from segshift.models import create_model

TARGET = "streets::val?size=64x32&count=8+fog=0.02"


@pytest.fixture(scope="module")
def tuned(source_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The source model after an epoch of tuning its head."""
    recipe = adaptation_recipe(source_run.recipe, "supervised", "cl", TARGET, changes=("training.epochs=1",), name="tuned")
    return execute(recipe, tmp_path_factory.mktemp("tuned") / "run", source_run)


def test_runs_are_compared_as_their_models(source_run: Run, tuned: Run) -> None:
    shift = compare_parameters(source_run.path, tuned, threshold=0.05, granularity="kernel", null=source_run)
    models = source_run.load_model(), tuned.load_model()
    assert shift == compare_models(*models, 0.05, "kernel", models[0])
    head = {name for name, _ in models[0].named_parameters() if not name.startswith(models[0].parts().encoder[0])}
    assert {layer.name for layer in shift.learnable if layer.relative_norm > 0} == head
    assert {layer.null_similarity for layer in shift.layers} == {1.0}
    assert compare_parameters(models[0], tuned.path, 0.05, "kernel", source_run.path) == shift


def test_what_cannot_be_compared_is_told(source_run: Run, tuned: Run, tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is the clean run itself"):
        diagnose_runs(source_run, [source_run])
    with pytest.raises(RecipeError, match="two runs are called 'tuned': give each run once, with a label of its own, LABEL:=RUN"):
        diagnose_runs(source_run, [tuned, tuned], labels=["tuned", "tuned"])
    with pytest.raises(RecipeError, match=r"two runs are called '/.*/run'"):
        diagnose_runs(source_run, [tuned, tuned])
    other = execute(tiny("seed=1", "training.epochs=1", "name=other"), tmp_path / "other")
    diagnosis, notes = diagnose_runs(source_run, [tuned, other])
    assert list(diagnosis.shifts) == ["tuned", "other"]
    told = f"began with other weights than {source_run.name}: their z-scores differ everywhere"
    assert notes == [f"other {told}"]
    assert diagnose_runs(source_run, [tuned], null=other)[1] == [f"the null control, other, {told}"]
    with pytest.warns(UserWarning, match=f"{other.path} began with other weights than {source_run.path}"):
        compare_parameters(source_run, other.path)


@pytest.mark.usefixtures("as_a_user")
def test_a_wrong_type_is_one_line_with_a_remedy(source_run: Run, tuned: Run) -> None:
    for wrong, text in (
        ({"fog": tuned.path}, "other is a dict: .*; compare several one at a time"),
        (5, "other is a int: give a model of ss.create_model"),
    ):
        with pytest.raises(RecipeError, match=text):
            compare_parameters(source_run, wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("folders", "labels", "names"),
    [
        (["a/fog", "a/rain"], [None, None], ["supervised-all", "fine"]),
        (["a/fog", "b/rain", "b/snow"], [None, None, None], ["fog", "rain", "snow"]),
        (["a/fog", "b/fog", "b/snow"], [None, None, None], ["a/fog", "b/fog", "b/snow"]),
        (["a/fog", "b/fog"], ["thick", None], ["thick", "supervised-all"]),
        (["a/fog", "b/fog"], ["fog", None], ["fog", "supervised-all"]),
        (["a/fog", "b/fog", "b/snow"], ["fog", None, None], ["fog", "b/fog", "b/snow"]),
    ],
)
def test_runs_of_one_name_go_by_their_folders(folders: list[str], labels: list[str | None], names: list[str], tmp_path: Path) -> None:
    runs = [Run(tmp_path / folder, {"name": "fine" if folder == "a/rain" else "supervised-all"}) for folder in folders]
    assert name_runs(runs, labels) == names


@pytest.mark.parametrize(
    ("clean", "other", "related"),
    [
        ("root", "child", True),
        ("grandchild", "root", True),
        ("child", "nephew", True),  # both from root, one of them over a run between
        ("child", "orphan", True),  # of one parent, which is not there any more
        ("root", "same seed", True),
        ("root", "other seed", False),
        ("root", "other weights", False),
        ("child", "same seed", False),
    ],
)
def test_runs_that_began_alike_are_known(clean: str, other: str, related: bool, tmp_path: Path) -> None:
    parents = {"child": "root", "sibling": "root", "nephew": "sibling", "grandchild": "child", "orphan": "root"}
    for name in ("root", "child", "sibling", "nephew", "grandchild", "orphan", "same seed", "other seed", "other weights"):
        parent = {"path": f"../{'gone' if name == 'orphan' else parents[name]}", "identity": parents[name]} if name in parents else None
        model = {"architecture": "unet", "pretraining": "all of imagenet" if name == "other weights" else "none"}
        (tmp_path / name).mkdir()
        Run(tmp_path / name, {"identity": name, "seed": int(name == "other seed"), "model": model, "parent": parent}).update()
    assert began_alike(Run.open(tmp_path / clean), Run.open(tmp_path / other)) == related


def test_the_command_writes_what_top_k_reads(source_run: Run, tuned: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["diagnose", str(source_run.path), str(tuned.path), "--threshold", "0.05", "--top", "7", "--out", str(tmp_path / "out")])
    assert not stopped.value.code
    said = capsys.readouterr().out
    assert "convolution" in said
    first = compare_parameters(source_run, tuned, 0.05).top(7)
    lines = said[said.index("moved most:") :].splitlines()[2:9]
    assert [line.split() for line in lines] == [[f"{100 * layer.shift:.1f}", f"{100 * layer.relative_norm:.3g}", layer.name] for layer in first], "most first"
    assert f"--tuning top-k --diagnosis {tmp_path / 'out'} --k 7" in said
    assert read_diagnosis(tmp_path / "out").shifts["tuned"] == compare_parameters(source_run, tuned, 0.05)
    with open(tmp_path / "out" / "top.csv", encoding="utf-8") as file:
        assert [(row["layer"], row["rank in tuned"]) for row in csv.DictReader(file)] == [(layer.name, str(rank)) for rank, layer in enumerate(first, 1)]
    for name in ("similarity.png", "top.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            picture.load()
    run = execute(
        adaptation_recipe(
            source_run.recipe, "supervised", "top-k", TARGET, options={"diagnosis": str(tmp_path / "out"), "k": 3}, changes=("training.epochs=1",)
        ),
        tmp_path / "top",
        source_run,
    )
    assert run.record["tensors_changed"] == 3
    for arguments, text in (
        (["--threshold", "0"], "threshold is 0.0"),
        (["--granularity", "layers"], "did you mean 'layer'"),
        (["--top", "5000"], "5000 layers"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["diagnose", str(source_run.path), str(tuned.path), *arguments, "--out", str(tmp_path / "none")])
        assert stopped.value.code == 1
        assert text in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_the_command_takes_labels_and_sets_the_null_control_beside(source_run: Run, tuned: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [f"run:={tuned.path}", f"again:={tuned.path}"]
    with pytest.raises(SystemExit) as stopped:
        main(["diagnose", str(source_run.path), *runs, "--null", str(tuned.path), "--out", str(tmp_path / "out")])
    assert not stopped.value.code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["run", "again"]
    assert lines[3].split()[:2] == ["null", "control"]
    assert lines[3].split()[2:] == lines[1].split()[1:], "the control is the run itself"
    heads = next(line for line in lines if line.endswith("layer"))
    assert heads.split("  ")[1:] == ["shift, %", "over null", "norm, %", "in top 50", "layer"]
    shift = compare_parameters(source_run, tuned)
    listed = [line.split() for line in lines[lines.index(heads) + 1 :][:10]]
    assert [line[-1] for line in listed] == [layer.name for layer in shift.top(10)]
    assert all(line[1] == "+0.0" and line[3:6] == ["2", "of", "2"] for line in listed)
    assert list(read_diagnosis(tmp_path / "out").shifts) == ["run", "again"]


def test_a_reader_that_stops_loses_nothing(source_run: Run, tuned: Run, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "segshift", "diagnose", str(source_run.path), str(tuned.path), "--out", str(tmp_path)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.iterdir())) == 5


def test_what_is_compared_in_python_is_written_and_tuned(source_run: Run, tuned: Run, tmp_path: Path) -> None:
    shift = ss.compare_parameters(source_run, tuned, 0.05)
    assert repr(shift) == f"ParameterShift({len(shift.layers)} layers, threshold=0.05, granularity='layer')"
    files = ss.write_diagnosis(shift, tmp_path / "one", top=3)
    assert sorted(files) == sorted(path.name for path in (tmp_path / "one").iterdir())
    model = source_run.load_model()
    names = {layer.name for layer in shift.top(3)}
    for diagnosis in (shift, Diagnosis("clean", {"fog": shift}), str(tmp_path / "one"), tmp_path / "one"):
        assert ss.select_parameters(model, "top-k", k=3, diagnosis=diagnosis).names == names
    ss.write_diagnosis({"fog": shift, "rain": shift}, tmp_path / "two", clean="source")
    assert list(read_diagnosis(tmp_path / "two").shifts) == ["fog", "rain"]
    with pytest.raises(ModelError, match="is the diagnosis of another model than fpn"):
        ss.select_parameters(create_model("fpn", encoder="resnet18", classes=3, seed=0), "top-k", k=3, diagnosis=shift)


@pytest.mark.parametrize(("architecture", "listed"), [("pspnet", 46), ("unet", 50)])
def test_a_model_of_fewer_layers_than_the_list_has_them_all_in_it(architecture: str, listed: int, tmp_path: Path) -> None:
    clean, other = (create_model(architecture, encoder="resnet18", classes=3, seed=seed) for seed in range(2))
    write(Diagnosis("clean", {"other": compare_models(clean, other)}), [], None, tmp_path)
    with open(tmp_path / "top.csv", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == listed
