"""Benchmarks that use an interface of the library as its users do not: they still run on it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def test_what_adapting_costs_is_measured_for_every_method(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    test_time = importlib.import_module("test_time")
    test_time.compare("resnet18", torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), rounds=1)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("unet / resnet18: evaluation ")
    assert [line.split(":")[0].strip() for line in lines] == [*test_time.METHODS, "adabn"]
