"""The smallest fits of the digits, and the shortest training of extractors."""

from __future__ import annotations

from typing import Any

import pytest

from morphogen.core import plugins
from morphogen.core.modality import modality
from morphogen.core.space import Space

TRAIN: dict[str, Any] = {"steps": 6, "batch": 16, "precision": "fp32", "previews": 0}


def kind(family: str) -> type[Space]:
    """Return the kind of space in which a family models pictures."""
    return plugins.kind_for(family, modality("image").spaces)


def conditions(family: str) -> list[str]:
    """Return the columns of the digits that a family can be conditioned on."""
    return ["label"] if plugins.model_for(family, kind(family)).supports_conditions else []


def tiny(family: str) -> dict[str, Any]:
    """Return options of the narrowest network that a family has for pictures."""
    fields = plugins.entry_for(family, kind(family)).Options.model_fields
    options: dict[str, Any] = {name: 16 for name in fields if name.endswith("width")}
    options |= {name: 1 for name, field in fields.items() if name.endswith("_blocks") and field.annotation is int}
    return options | {name: (1, 1) for name in fields if name == "blocks"}


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Train the extractors of pictures for a few steps only."""
    patch.setattr("morphogen.modalities.image.features._FEWEST", 30)
    patch.setattr("morphogen.modalities.image.features._PASSES", 5)
