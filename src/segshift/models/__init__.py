"""Segmentation models: one wrapper with named parts around the networks of two libraries."""

from segshift.models.anatomy import Outputs, Parts, SegmentationModel
from segshift.models.catalog import MODELS, Architecture, check_pair, create_model
from segshift.models.convolutions import first_convolutions, main_path
from segshift.models.cost import Cost, measure_cost
from segshift.models.receptive_field import ReceptiveField, measure_receptive_field
from segshift.models.weights import LoadReport, load_checked, load_into, read_weights

__all__ = [
    "MODELS",
    "Architecture",
    "Cost",
    "LoadReport",
    "Outputs",
    "Parts",
    "ReceptiveField",
    "SegmentationModel",
    "check_pair",
    "create_model",
    "first_convolutions",
    "load_checked",
    "load_into",
    "main_path",
    "measure_cost",
    "measure_receptive_field",
    "read_weights",
]
