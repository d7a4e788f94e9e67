"""Whether the keywords of `Pipeline.sample` and `Pipeline.impute` are unambiguous."""

from __future__ import annotations

import inspect
from typing import Any

from ..core.config import Frozen
from ..core.modality import Modality
from ..pipeline import Pipeline


def check_keywords(controls: type[Frozen], modality: Modality[Any], where: str) -> None:
    """Check that a control has no name of the modality's Query or Mask, nor of an argument of the pipeline.

    The pipeline sorts keywords by these names. Raises AssertionError that names the clash.
    """
    for method, settings in ((Pipeline.sample, modality.Query), (Pipeline.impute, modality.Mask)):
        arguments = {name for name, one in inspect.signature(method).parameters.items() if one.kind != one.VAR_KEYWORD}
        fields = set(settings.model_fields) if settings else set()
        for name in controls.model_fields:
            assert name not in arguments, f"{where}: the control '{name}' is an argument of Pipeline.{method.__name__}"
            assert name not in fields, f"{where}: the control '{name}' is a field of {settings}, of '{modality.name}'"
