"""The README's code runs, and its commands and those of the pages are ones that the command line knows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_ten_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 13
    exec(compile(code, "README.md", "exec"), {})
    learnable, miou = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\d+ of \d+", learnable)
    assert 0 <= float(miou) <= 1


def test_its_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_its_commands_and_those_of_the_pages_are_complete() -> None:
    from segshift.cli import app

    commands = typer.main.get_command(app)
    found = 0
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text().replace("\\\n", " ")
        for line in re.findall(r"^ {4}(?:\w+=\S+ )*segshift (.*)$", text, re.MULTILINE):
            name, *arguments = shlex.split(line, comments=True)
            commands.commands[name].make_context(name, arguments)  # raises where an option is missing or unknown
            found += 1
    assert found > 40


def test_its_domains_are_understood() -> None:
    from segshift.data.domain import parse_domain

    for text in re.findall(r"'(?:\w+:=)?((?:streets|camvid)[^']*)'", README):
        assert str(parse_domain(text))
