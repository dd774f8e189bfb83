"""Help, exit codes and the line that each of the likely mistakes gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segshift.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for command in ("quickstart", "train", "evaluate", "adapt", "compare", "report", "predict", "list", "recipe"):
        assert f"  {command} " in out


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; import segshift.cli; print([m for m in ('torch', 'numpy', 'rich', 'pydantic', 'yaml', 'numba') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["trian"], 2, "No such command"),
        (["train"], 2, "Missing argument"),
        (["list", "modles"], 2, "models"),
        (["train", "none.yaml"], 1, "no recipe at none.yaml"),
        (["adapt", "runs/none", "--method", "adabn", "--target", "streets"], 1, "is no run folder"),
        (["evaluate", "runs/none", "--domain", "streets"], 1, "is no run folder"),
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


@pytest.mark.parametrize("what", ["models", "methods", "tunings", "domains", "weather"])
def test_list_prints_a_line_each(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    from segshift.data.catalog import DATASETS
    from segshift.methods import METHODS
    from segshift.models import MODELS
    from segshift.tuning import TUNINGS
    from segshift.weather import WEATHER

    tables = {"models": MODELS, "methods": METHODS, "tunings": TUNINGS, "domains": DATASETS, "weather": WEATHER}
    code, out, _ = run(capsys, "list", what)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(tables[what])


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
