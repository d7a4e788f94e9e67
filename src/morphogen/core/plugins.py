"""The folder is the registry: families, modalities, metrics and solvers are found by name, imported when named.

Third parties use the entry-point groups `morphogen.families`, `morphogen.modalities`, `morphogen.metrics` and
`morphogen.solvers`; an entry point names a package or module laid out as the built-in ones are.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from .errors import UserError, unknown

_FOLDERS = {
    "families": "morphogen.families",
    "modalities": "morphogen.modalities",
    "metrics": "morphogen.evaluation.metrics",
    "solvers": "morphogen.sampling.solvers",
}
_SINGULAR = {"families": "family", "modalities": "modality", "metrics": "metric", "solvers": "solver"}


@cache
def known(group: str) -> dict[str, str]:
    """Name → dotted module of every plug-in of a group; a built-in name cannot be taken by an installed package."""
    found = {point.name: point.value for point in entry_points(group=f"morphogen.{group}")}
    folder = importlib.import_module(_FOLDERS[group])
    for module in pkgutil.iter_modules(folder.__path__):
        if not module.name.startswith(("_", "test_")) and module.name not in ("base", "conftest"):
            found[module.name] = f"{_FOLDERS[group]}.{module.name}"
    return dict(sorted(found.items()))


def load(group: str, name: str, part: str = "") -> ModuleType:
    """The plug-in's module, or its part (`options`, `model`, `codec` …). Only what is named is imported.

    Raises UserError with the nearest known name, or where an installed plug-in does not import.
    """
    modules = known(group)
    if name not in modules:
        raise unknown(_SINGULAR[group], name, modules)
    dotted = f"{modules[name]}.{part}" if part else modules[name]
    try:
        return importlib.import_module(dotted)
    except ImportError as error:
        raise UserError(f"the {_SINGULAR[group]} '{name}' ({dotted}) does not import: {error}") from error


def sole(module: ModuleType, base: type) -> Any:
    """The one concrete subclass of `base` that a plug-in's module defines."""
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    if len(found) != 1:
        names = [value.__name__ for value in found]
        raise UserError(f"{module.__name__} must define exactly one {base.__name__}, found {names or 'none'}")
    return found[0]
