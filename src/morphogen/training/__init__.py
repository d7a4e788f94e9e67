"""Training: from a source to a model folder."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .options import TrainOptions

if TYPE_CHECKING:
    from .fit import fit
    from .signals import Interrupted

__all__ = ["Interrupted", "TrainOptions", "fit"]

# Imported when first used: the command line reads the options before it needs torch.
_HOMES = {"Interrupted": ".signals", "fit": ".fit"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        # Not kept by the import machinery under this name: the function shadows the module it stands in.
        value = getattr(importlib.import_module(_HOMES[name], __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
