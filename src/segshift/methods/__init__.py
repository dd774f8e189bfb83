"""Methods: what drives a change. A new one is a file and a line here."""

from segshift.methods.adabn import AdaBN
from segshift.methods.cotta import Cotta
from segshift.methods.eata import Eata
from segshift.methods.method import EstimatingMethod, Method, OnlineMethod, Pool, Stepper, TrainingMethod
from segshift.methods.none import NoAdaptation
from segshift.methods.prediction_bn import PredictionBN
from segshift.methods.sar import Sar
from segshift.methods.supervised import Supervised
from segshift.methods.tent import Tent
from segshift.methods.ttn import TTN

METHODS: dict[str, type[Method]] = {
    "supervised": Supervised,
    "adabn": AdaBN,
    "none": NoAdaptation,
    "prediction-bn": PredictionBN,
    "ttn": TTN,
    "tent": Tent,
    "eata": Eata,
    "sar": Sar,
    "cotta": Cotta,
}

__all__ = [
    "METHODS",
    "TTN",
    "AdaBN",
    "Cotta",
    "Eata",
    "EstimatingMethod",
    "Method",
    "NoAdaptation",
    "OnlineMethod",
    "Pool",
    "PredictionBN",
    "Sar",
    "Stepper",
    "Supervised",
    "Tent",
    "TrainingMethod",
]
