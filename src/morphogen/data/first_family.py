"""The family that a fit of a source begins with. Imports no torch: the command line needs it for its flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from morphogen.core.config import build
from morphogen.core.errors import BadItem
from morphogen.core.modality import FirstFamily
from morphogen.core.modality import modality as modality_of

from .base import Source

_LOOKED_AT = 16  # items


def first_family(source: Source, codec: Mapping[str, Any]) -> FirstFamily:
    """Return the family that a fit of the source begins with, by a few of its items; `codec` holds its options."""
    modality = modality_of(source.modality)

    def items() -> Iterator[Any]:
        for index in sorted({round(at) for at in np.linspace(0, len(source) - 1, _LOOKED_AT)}):
            with suppress(BadItem):
                yield source.read(index)

    return modality.first_family(items(), build(modality.Options, codec, "codec"))
