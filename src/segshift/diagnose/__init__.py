"""Diagnosis: which parameters a change of domain moves."""

from segshift.diagnose.diagnosis import Diagnosis, Moved, as_diagnosis, read_diagnosis
from segshift.diagnose.parameter_shift import GRANULARITIES, LayerShift, ParameterShift, compare_parameters, compare_states

__all__ = ["GRANULARITIES", "Diagnosis", "LayerShift", "Moved", "ParameterShift", "as_diagnosis", "compare_parameters", "compare_states", "read_diagnosis"]
