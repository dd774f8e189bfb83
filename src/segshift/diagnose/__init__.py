"""Diagnosis: which parameters a change of domain moves."""

from segshift.diagnose.diagnosis import Diagnosis, read_diagnosis
from segshift.diagnose.parameter_shift import GRANULARITIES, LayerShift, ParameterShift, compare_parameters, compare_states

__all__ = ["GRANULARITIES", "Diagnosis", "LayerShift", "ParameterShift", "compare_parameters", "compare_states", "read_diagnosis"]
