"""Executable contracts: run them on your own family, modality, solver or metric."""

from .check_codec import check_codec
from .check_metric import check_metric
from .check_modality import check_modality
from .check_model import check_model
from .check_solver import check_solver
from .examples import SPACES, example_batch

__all__ = ["SPACES", "check_codec", "check_metric", "check_modality", "check_model", "check_solver", "example_batch"]
