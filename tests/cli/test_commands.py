"""Help, exit codes and the line that each of the likely mistakes gets."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import segshift
from segshift.cli import main
from segshift.cli.console import label_and_domain, reporter, resumable
from segshift.cli.listing import TABLES
from segshift.data.catalog import DATASETS
from segshift.engine.trackers import TRACKERS
from segshift.errors import DataError, DataWarning
from segshift.methods import METHODS
from segshift.models import MODELS
from segshift.models.catalog import REFUSED
from segshift.options import check_options, describe_type, option_types
from segshift.tuning import TUNINGS
from segshift.weather import WEATHER


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for command in ("quickstart", "train", "evaluate", "adapt", "compare", "report", "figures", "predict", "list", "recipe"):
        assert f"  {command} " in out


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys; import segshift.cli; print([m for m in ('torch', 'numpy', 'rich', 'pydantic', 'yaml', 'numba') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


LIGHT = [["--help"], [], ["--version"], ["list"], ["list", "foo"]]
MISSING = [
    ["train", "x.yaml"],
    ["study", "x.yaml"],
    ["recipe", "show", "x.yaml"],
    ["evaluate", "x", "--domain", "streets"],
    ["compare", "x"],
    ["report", "x"],
    ["figures", "x"],
]


@pytest.mark.parametrize("arguments", LIGHT + MISSING, ids=" ".join)
def test_help_and_missing_files_import_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from segshift.cli import main
try:
    main({arguments})
finally:
    sys.stdout.write("|" + " ".join(m for m in ("torch", "numpy", "rich", "yaml", "numba", "segshift.models") if m in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.rpartition("|")[1:] == ("|", "")


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["trian"], 2, "No such command"),
        (["train"], 2, "Missing argument"),
        (["list", "modles"], 2, "unknown table 'modles': did you mean 'models'?"),
        (["list", "foo"], 2, "Known: domains, methods, models, pairs, trackers, tunings, weather"),
        (["train", "none.yaml"], 1, "no recipe at none.yaml"),
        (["adapt", "runs/none", "--method", "adabn", "--target", "streets"], 1, "is no run folder"),
        (["evaluate", "runs/none", "--domain", "streets"], 1, "is no run folder"),
        (["compare", "recipes/streets.yaml"], 1, "is a file: name the folder of the run or of the study, as runs/streets"),
        (["compare", "runs/none"], 1, "runs/none"),
    ],
)
def test_mistakes_get_one_line_and_their_code(arguments: list[str], code: int, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    got, _, err = run(capsys, *arguments)
    assert got == code
    assert part in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_recipe_with_mistakes_names_them_all(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("trainig: {}\ndata: {source: streets+fgo=0.02}\nmodel: {architecture: unett}\n")
    code, _, err = run(capsys, "train", str(tmp_path / "r.yaml"))
    assert code == 1
    for near in ("'training'", "'fog'", "'unet'"):
        assert f"did you mean {near}" in err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError):
        main(["--debug", "train", "none.yaml"])


def test_nothing_gets_the_plain_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["list"], ["recipe"]):
        _, help_text, _ = run(capsys, *command, "--help")
        assert help_text.startswith(f"Usage: {' '.join(['segshift', *command])} ")
        assert run(capsys, *command) == (2, "", help_text)


def test_the_help_of_list_has_a_line_for_each_table(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "list", "--help")[1].splitlines()
    assert [line.split()[0] for line in out if line.strip().endswith(tuple(summary for summary, _ in TABLES.values()))] == list(TABLES)


def test_version_and_the_module_by_name() -> None:
    for module in ("segshift", "segshift.cli"):
        said = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True).stdout
        assert said == f"segshift {segshift.__version__}\n"
    said = subprocess.run([sys.executable, "-m", "segshift", "list", "foo"], capture_output=True, text=True)
    assert said.returncode == 2
    assert said.stderr.endswith("(see `segshift list --help`)\n")


def test_list_prints_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    tables = {
        "models": list(MODELS),
        "pairs": [*(refusal.architecture for refusal in REFUSED), "fcn_resnet50", "lraspp_mobilenet_v3_large"],
        "methods": list(METHODS),
        "tunings": list(TUNINGS),
        "domains": [*DATASETS, "(all)"],
        "weather": list(WEATHER),
        "trackers": list(TRACKERS),
    }
    assert list(TABLES) == list(tables)
    for table, names in tables.items():
        code, out, _ = run(capsys, "list", table)
        assert code == 0
        assert [line.split()[0] for line in out.splitlines() if not line.startswith(" ")] == names
        assert table == "domains" or len(out.splitlines()) == len(names)
        assert not re.search(r"\[paper: -?\]|   \S", re.sub(r"^\S* +", "", out, flags=re.MULTILINE))  # nothing empty


def test_list_prints_one_entry_with_all_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    whole, one = run(capsys, "list", "domains")[1], run(capsys, "list", "domains", "camvid")[1]
    assert one in whole
    assert one.startswith("camvid ")
    assert "keys: sequence; licence:" in one
    assert "camvid-32" not in one
    code, _, err = run(capsys, "list", "methods", "tnt")
    assert code == 2
    assert "did you mean 'tent'?" in err


def test_list_says_which_encoders_work(capsys: pytest.CaptureFixture[str]) -> None:
    listed = dict(line.split(maxsplit=1) for line in run(capsys, "list", "models")[1].splitlines())
    for name, entry in MODELS.items():
        assert f"encoder: {entry.default_encoder}]" in listed[name]
    pairs = run(capsys, "list", "pairs")[1]
    for refusal in REFUSED:
        assert f"not with {', '.join(refusal.encoders)}: {refusal.reason}" in pairs
    assert "with mobilenet_v3_large alone" in pairs


def test_list_says_what_may_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "list", "tunings")[1].count("[may see: nothing itself]") == len(TUNINGS)


def test_list_domains_says_classes_sizes_and_licence_in_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "list", "domains")[1]
    assert max(map(len, out.splitlines())) <= 100
    parts = re.split(r"^(\S+) +", out, flags=re.MULTILINE)[1:]
    said = {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}
    assert said["streets"].endswith("19 classes; images: train 400, val 50, test 100 keys: look, size, seed, count; licence: Apache-2.0, part of segshift")
    assert "19 (default), 20, 16, 13 classes; images: train 1600, val 406, test 2000 without labels keys: " in said["acdc"]
    assert "keys: classes, condition (fog, night, rain, snow), sequence; licence: ACDC" in said["acdc"]
    assert said["folder"].endswith("classes of its mapping file; splits: any subfolder keys: labels, sequence; licence: its owner's")
    assert said["(all)"].startswith("keys of every data set: part, every, skip, first, depth, refine part: i/n: ")
    for name, entry in DATASETS.items():
        assert entry.summary in said[name]
        assert f"licence: {entry.licence}" in said[name]


def test_a_warning_about_data_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segshift.data.download.download", lambda *args, **kwargs: warnings.warn("2 images left out", DataWarning, stacklevel=1))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, out, err = run(capsys, "download", "oxford-pets", "pets")
    assert (code, out, err) == (0, "oxford-pets:pets\n", "segshift: 2 images left out\n")


def test_download_without_a_network_or_with_an_account(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "download", "cityscapes", str(tmp_path))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "cannot be downloaded by a program" in err


def test_options_of_methods_are_those_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    from segshift.cli.adapt import read_options
    from segshift.engine.options import sort_options
    from segshift.errors import RecipeError, UnknownNameError

    options = read_options(["--source-ratio", "0.2", "--classifier=last"])
    assert sort_options(options, "adabn", "cl") == ({"source_ratio": 0.2}, {"classifier": "last"})
    with pytest.raises(UnknownNameError, match="did you mean 'source_ratio'"):
        sort_options(read_options(["--source-ration", "0.2"]), "adabn", "all")
    assert read_options(["--loss", "[:"]) == {"loss": "[:"}  # no YAML: left to the method to refuse
    with pytest.raises(RecipeError, match="needs a value"):
        read_options(["--source-ratio"])
    with pytest.raises(RecipeError, match=re.escape("method adabn: source_ratio is '50%', and takes a number such as 0.5 or auto")):
        check_options(METHODS["adabn"], read_options(["--source-ratio", "50%"]), "method adabn")


@pytest.mark.parametrize("target", [*METHODS.values(), *(entry.options for entry in TUNINGS.values())])
def test_every_option_s_type_has_words(target: Callable[..., Any]) -> None:
    for name, (kind, _) in option_types(target, skip=("model",)).items():
        assert not re.search(r"[\[\]<>]|\b(int|float|str|bool)\b", describe_type(kind)), name


def test_stopped_by_ctrl_c_a_command_says_how_it_goes_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["segshift", "adapt", "runs/a b", "--method", "adabn"])
    with pytest.raises(SystemExit) as stopped, resumable(reporter()):
        raise KeyboardInterrupt
    assert stopped.value.code == 130
    assert (
        capsys.readouterr().out
        == "stopped; what was finished is kept, a pass that was not begins anew. Go on with: segshift adapt 'runs/a b' --method adabn --resume\n"
    )


def test_a_label_without_its_colon_is_answered_with_it() -> None:
    assert label_and_domain("fog:=streets+fog=0.02") == ("fog", "streets+fog=0.02")
    for alone in ("streets+fog=0.02", "streets?look=camera", "folder:a=b"):
        assert label_and_domain(alone) == (alone, alone)
    with pytest.raises(DataError, match=re.escape("a label stands before := ('day:=camvid::test?first=3')")):
        label_and_domain("day=camvid::test?first=3")
