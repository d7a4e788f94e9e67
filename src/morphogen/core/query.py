"""What samples have to satisfy, beside the Controls of the model. Imports no torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from .config import Frozen


class Query(Frozen):
    """What samples have to satisfy; a modality adds fields of its own, which become flags of `sample`."""

    condition: dict[str, Any] = Field(
        {},
        description="Values by name: one for all samples, a list with one for each, or 'all' for all values in turn.",
    )
