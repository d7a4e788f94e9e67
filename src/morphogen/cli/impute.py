"""Fill in the missing parts of items."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from ..core.errors import BadItem, UserError
from ..core.log import say
from ..core.modality import modality
from ._flags import flag
from ._model import conditions, control_values, from_flags, parse_on_model

if TYPE_CHECKING:
    from ..data.base import Source

_NAMED = 3  # skipped items in a message


def run(arguments: list[str]) -> int:
    """Run the verb; return the exit code."""
    fields = [
        ("source", flag(tyro.conf.Positional[Path], "An item, or a folder or file of items."), dataclasses.MISSING),
        ("imputations", flag(int, "Number of imputations; their spread shows the uncertainty."), 1),
        ("best", flag(bool, "Give the consensus of 15 imputations: of a cell its mode or median."), False),
        ("separator", flag(str | None, "What separates the items of a file, as in `fit`; None: it is one item."), None),
    ]
    usage = "DIR SOURCE --out PATH"
    parsed = parse_on_model(arguments, "impute", usage, __doc__ or "", fields, settings="Mask")

    from ..data.sources import open_source
    from ..pipeline import load
    from ..samples import is_single_file, save_items

    pipeline = load(parsed.folder)
    own = modality(pipeline.modality)
    if own.Mask is None:
        raise UserError(f"{own.plural} cannot be given in part: there is nothing to impute")
    if parsed.imputations < 1:
        raise UserError(f"--imputations is {parsed.imputations}; expected at least 1")
    if parsed.best and parsed.imputations > 1:
        raise UserError("--best is the consensus of several imputations; drop --imputations")
    single = is_single_file(parsed.out, own)
    if single and parsed.imputations > 1:
        raise UserError(f"--imputations {parsed.imputations} writes a folder for each; choose an --out that is no file")
    whole = parsed.separator is None
    source = open_source(str(parsed.source), pipeline.modality, separator=parsed.separator, whole=whole)
    items, names, skipped = _read(source)
    if skipped:
        more = " …" if len(skipped) > _NAMED else ""
        say(f"skipped {len(skipped)} of {len(source)} items that cannot be read: {'; '.join(skipped[:_NAMED])}{more}")
    mask, controls = from_flags(own.Mask, parsed), control_values(parsed)
    condition = conditions(parsed.condition, len(items), pipeline)
    for number in range(parsed.imputations):
        out = parsed.out / f"imputation-{number + 1}" if parsed.imputations > 1 else parsed.out
        seed = parsed.seed + number * len(items)
        parts = pipeline.stream_imputed(
            items, mask, seed=seed, best=parsed.best, condition=condition, batch=parsed.batch, **controls
        )
        save_items(out, pipeline, parts, names=names, skipped=skipped)
    beside = "" if single else ", a preview and imputed.json"
    times = f" {parsed.imputations} times" if parsed.imputations > 1 else ""
    say(f"wrote {len(items)} items, filled in{times}{beside} to {parsed.out}")
    return 0


def _read(source: Source) -> tuple[Any, list[str], list[str]]:
    """Return the items that can be read, as one collection, their names, and why others are skipped.

    Raises UserError where none can be read.
    """
    import numpy as np

    block = source.block(np.arange(len(source)))
    if block is not None:
        return block, [], []
    items, names, skipped = [], [], []
    for index in range(len(source)):
        try:
            items.append(source.read(index))
            names.append(source.item_name(index))
        except BadItem as error:
            skipped.append(str(error))
    if not items:
        raise UserError(f"none of {len(source)} items can be read; the first: {skipped[0]}")
    return source.collect(items), names, skipped
