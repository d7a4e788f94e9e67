"""Training: from a source to a model folder."""

from .fit import Interrupted, fit
from .options import TrainOptions

__all__ = ["Interrupted", "TrainOptions", "fit"]
