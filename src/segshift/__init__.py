"""Measure, explain and repair what a change of domain does to a semantic segmentation model.

    import segshift as ss
    model = ss.create_model("unet", encoder="resnet18", classes=19)
    foggy = ss.weather.add_fog(image, depth, beta=0.02)
    better = ss.adapt("runs/source", method="adabn", target="streets+fog=0.02")

Names are imported when they are first used, so that `import segshift` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segshift import weather
    from segshift.data.bands import BandImages
    from segshift.data.dataset import open_domain
    from segshift.data.domain import parse_domain
    from segshift.engine.adapt import adapt
    from segshift.engine.diagnosis import compare_parameters
    from segshift.engine.drift import estimate_drift
    from segshift.engine.run import Run
    from segshift.methods.adapt_statistics import adapt_statistics
    from segshift.metrics import ConfusionMatrix
    from segshift.models import SegmentationModel, create_model, measure_cost, measure_receptive_field
    from segshift.predict import predict_images
    from segshift.render import render_set
    from segshift.report.diagnosis import write_diagnosis
    from segshift.tuning import select_parameters

_PLACES = {
    "BandImages": "segshift.data.bands",
    "ConfusionMatrix": "segshift.metrics",
    "Run": "segshift.engine.run",
    "SegmentationModel": "segshift.models",
    "adapt": "segshift.engine.adapt",
    "adapt_statistics": "segshift.methods.adapt_statistics",
    "compare_parameters": "segshift.engine.diagnosis",
    "create_model": "segshift.models",
    "estimate_drift": "segshift.engine.drift",
    "measure_cost": "segshift.models",
    "measure_receptive_field": "segshift.models",
    "open_domain": "segshift.data.dataset",
    "parse_domain": "segshift.data.domain",
    "predict_images": "segshift.predict",
    "render_set": "segshift.render",
    "select_parameters": "segshift.tuning",
    "weather": "segshift",
    "write_diagnosis": "segshift.report.diagnosis",
}

__version__ = "0.1.0"
__all__ = [
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


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'segshift' has no attribute {name!r}")
    if name == "weather":
        return import_module("segshift.weather")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
