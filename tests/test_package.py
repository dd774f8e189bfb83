"""What users import, and that importing costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import segshift as ss


def test_public_names() -> None:
    assert dir(ss) == [
        "BandImages",
        "ConfusionMatrix",
        "Run",
        "SegmentationModel",
        "adapt",
        "adapt_statistics",
        "compare_parameters",
        "create_model",
        "estimate_drift",
        "measure_cost",
        "measure_receptive_field",
        "open_domain",
        "parse_domain",
        "predict_images",
        "render_set",
        "select_parameters",
        "weather",
        "write_diagnosis",
    ]
    for name in dir(ss):
        assert getattr(ss, name) is not None


def test_importing_is_lazy() -> None:
    code = "import sys, segshift; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ss.nothing  # noqa: B018 - the access is the test
