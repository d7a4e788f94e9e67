"""The smallest models worth training."""

from __future__ import annotations

from typing import Any

from morphogen.core import plugins

TRAIN: dict[str, Any] = {"steps": 6, "batch": 16, "precision": "fp32", "previews": 0}


def conditions(family: str) -> list[str]:
    """What a family can be conditioned on, of the digits' columns."""
    return [] if family == "vq" else ["label"]


def tiny(family: str) -> dict[str, Any]:
    """Options of the narrowest network of a family."""
    fields = plugins.load("families", family, "options").Options.model_fields
    found: dict[str, Any] = {name: 16 for name in fields if name.endswith("width")}
    found |= {name: 1 for name, field in fields.items() if name.endswith("_blocks") and field.annotation is int}
    return found | {name: (1, 1) for name in fields if name == "blocks"}
