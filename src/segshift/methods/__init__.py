"""Methods: what drives a change. A new one is a file and a line here."""

from segshift.methods.adabn import AdaBN
from segshift.methods.method import EstimatingMethod, Method, OnlineMethod, Pool, Stepper, TrainingMethod
from segshift.methods.supervised import Supervised

METHODS: dict[str, type[Method]] = {
    "supervised": Supervised,
    "adabn": AdaBN,
}

__all__ = ["METHODS", "AdaBN", "EstimatingMethod", "Method", "OnlineMethod", "Pool", "Stepper", "Supervised", "TrainingMethod"]
