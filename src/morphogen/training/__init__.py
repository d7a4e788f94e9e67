"""Training: from a source to a model folder."""

from .fit import fit
from .options import TrainOptions
from .signals import Interrupted

__all__ = ["Interrupted", "TrainOptions", "fit"]
