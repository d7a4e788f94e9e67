"""Train any generative family on your own data, sample with full control, and judge honestly."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .core.openmp import wait_asleep
from .version import __version__

if TYPE_CHECKING:
    from . import anomaly, latents, likelihood
    from .core.errors import UserError
    from .evaluation.evaluate import evaluate
    from .evaluation.results import Evaluation
    from .pipeline import Pipeline, load
    from .training.fit import fit, resume
    from .training.options import TrainOptions
    from .training.signals import Interrupted

wait_asleep()

__all__ = [
    "Evaluation",
    "Interrupted",
    "Pipeline",
    "TrainOptions",
    "UserError",
    "__version__",
    "anomaly",
    "evaluate",
    "fit",
    "latents",
    "likelihood",
    "load",
    "resume",
]

# Imported when first used: `import morphogen` must not import torch.
_MODULES = ("anomaly", "latents", "likelihood")
_HOMES = {
    "Evaluation": ".evaluation.results",
    "Interrupted": ".training.signals",
    "Pipeline": ".pipeline",
    "TrainOptions": ".training.options",
    "UserError": ".core.errors",
    "evaluate": ".evaluation.evaluate",
    "fit": ".training.fit",
    "load": ".pipeline",
    "resume": ".training.fit",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module 'morphogen' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
