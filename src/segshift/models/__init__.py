"""Networks: `create_model` builds them, `SegmentationModel` wraps them, `measure_cost` weighs them."""

from segshift.models.anatomy import Outputs, Parts, SegmentationModel, first_convolutions
from segshift.models.catalog import MODELS, Architecture, create_model
from segshift.models.weights import LoadReport, load_checked, read_weights

__all__ = [
    "MODELS",
    "Architecture",
    "LoadReport",
    "Outputs",
    "Parts",
    "SegmentationModel",
    "create_model",
    "first_convolutions",
    "load_checked",
    "read_weights",
]
