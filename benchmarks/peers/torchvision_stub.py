"""An empty stand-in for torchvision, which does not load beside the CPU build of torch."""

from __future__ import annotations

import sys
import types


class _Nothing(types.ModuleType):
    """A module with every name in it."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


for _name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
    sys.modules[_name] = _Nothing(_name)
    _parent, _, _child = _name.rpartition(".")
    if _parent:
        setattr(sys.modules[_parent], _child, sys.modules[_name])
