"""The folder is the registry: families, modalities, metrics and solvers are found by name, imported when named.

Third parties use the entry-point groups `morphogen.families`, `.modalities`, `.metrics` and `.solvers`; an entry point
names a package or module laid out as the built-in ones are.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from .config import Frozen
from .errors import UserError, unknown
from .space import Space

_FOLDERS = {
    "families": "morphogen.families",
    "modalities": "morphogen.modalities",
    "metrics": "morphogen.metrics",
    "solvers": "morphogen.sampling.solvers",
}
_PACKAGES = ("families", "modalities")  # plug-ins of the other groups are single files
_SINGULAR = {"families": "family", "modalities": "modality", "metrics": "metric", "solvers": "solver"}


@dataclass(frozen=True)
class ModelEntry:
    """A family's model of one kind of space, declared in `families/X/options.py` without importing torch.

    `module` is the file with the model class, beside `options.py`; `sizes` are the changes to Options that the probe
    chooses among for a budget, smallest first.
    """

    module: str
    Options: type[Frozen]
    Controls: type[Frozen]
    sizes: tuple[Mapping[str, Any], ...] = ()


@cache
def known(group: str) -> dict[str, str]:
    """Return name → dotted module of every plug-in of a group; a built-in name cannot be taken by another package."""
    modules = {point.name: point.value for point in entry_points(group=f"morphogen.{group}")}
    folder = importlib.import_module(_FOLDERS[group])
    for module in pkgutil.iter_modules(folder.__path__):
        if module.ispkg != (group in _PACKAGES):
            continue
        if not module.name.startswith(("_", "test_")) and module.name not in ("base", "conftest"):
            modules[module.name] = f"{_FOLDERS[group]}.{module.name}"
    return dict(sorted(modules.items()))


def spelled(name: str) -> str:
    """Return the name of a plug-in however it is spelled: a hyphen stands for an underscore."""
    return name.replace("-", "_")


def load(group: str, name: str, part: str = "") -> ModuleType:
    """Import the plug-in's module, or its part (`options`, `codec` …). Nothing else is imported.

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
    """Return the one concrete subclass of `base` that a plug-in's module defines."""
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    if len(classes) != 1:
        names = [value.__name__ for value in classes]
        raise UserError(f"{module.__name__} must define exactly one {base.__name__}, found {names or 'none'}")
    return classes[0]


def attribute(module: ModuleType, name: str) -> Any:
    """Return what a plug-in's module declares under a name. Raises UserError where it does not."""
    if not hasattr(module, name):
        raise UserError(f"{module.__name__} must define {name}")
    return getattr(module, name)


def models(family: str) -> Mapping[type[Space], ModelEntry]:
    """Return the family's models by kind of space, the preferred one first. Imports no torch."""
    entries: Mapping[type[Space], ModelEntry] = attribute(load("families", family, "options"), "MODELS")
    return entries


def entry_for(family: str, kind: type[Space]) -> ModelEntry:
    """Return the family's entry for that kind of space. Raises UserError naming the families that have one."""
    entries = models(family)
    if kind not in entries:
        raise _refusal(family, (kind,))
    return entries[kind]


def kind_for(family: str, offered: Sequence[type[Space]]) -> type[Space]:
    """Return the first kind of space that a modality offers and the family models.

    Raises UserError naming the families that model any of those offered.
    """
    entries = models(family)
    for kind in offered:
        if kind in entries:
            return kind
    raise _refusal(family, offered)


def model_for(family: str, kind: type[Space]) -> Any:
    """Return the family's model class for that kind of space. Raises UserError as `entry_for` does."""
    from .model import GenerativeModel

    return sole(load("families", family, entry_for(family, kind).module), GenerativeModel)


def supporting(capability: str, kind: type[Space]) -> list[str]:
    """Return the families whose model of that kind of space has a capability, such as `supports_given`."""
    return [name for name in _modelling((kind,)) if getattr(model_for(name, kind), capability)]


def _modelling(kinds: Sequence[type[Space]]) -> list[str]:
    """Return the families that model any of these kinds; a plug-in that does not import is left out."""
    able = []
    for name in known("families"):
        with suppress(UserError):
            if any(kind in models(name) for kind in kinds):
                able.append(name)
    return able


def _refusal(family: str, kinds: Sequence[type[Space]]) -> UserError:
    able = _modelling(kinds)
    what = " or ".join(kind.plural for kind in kinds)
    choice = f"choose one of {', '.join(able)}" if able else "no family does"
    return UserError(f"the family '{family}' cannot model {what}; {choice}")
