"""Fill in the missing parts of items."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import tyro

from ._flags import flag
from ._model import conditions, control_values, from_flags, parse_on_model


def run(arguments: list[str]) -> int:
    fields = [
        ("source", flag(tyro.conf.Positional[Path], "An item, or a folder or file of items."), dataclasses.MISSING),
        ("imputations", flag(int, "Number of imputations; their spread shows the uncertainty."), 1),
        ("separator", flag(str | None, "What separates the items of a file, as in `fit`; None: it is one item."), None),
    ]
    usage = "DIR SOURCE --out PATH"
    parsed = parse_on_model(arguments, "impute", usage, __doc__ or "", fields, settings="Mask")

    from ..core.errors import UserError
    from ..core.modality import modality
    from ..data.encode import chunks
    from ..data.sources import open_source
    from ..pipeline import load
    from ..samples import save_items

    pipeline = load(parsed.folder)
    own = modality(pipeline.modality)
    if own.Mask is None:
        raise UserError(f"{own.plural} cannot be given in part: there is nothing to impute")
    if parsed.imputations < 1:
        raise UserError(f"--imputations is {parsed.imputations}; expected at least 1")
    whole = parsed.separator is None
    source = open_source(str(parsed.source), pipeline.modality, separator=parsed.separator, whole=whole)
    items = own.concatenate(list(chunks(source, range(len(source)))))
    mask, controls = from_flags(own.Mask, parsed), control_values(parsed)
    condition = conditions(parsed.condition, len(items), pipeline)
    for number in range(parsed.imputations):
        out = parsed.out / f"imputation-{number + 1}" if parsed.imputations > 1 else parsed.out
        seed = parsed.seed + number * len(items)
        parts = pipeline.stream_imputed(items, mask, seed=seed, condition=condition, batch=parsed.batch, **controls)
        save_items(out, pipeline, parts)
    times = f" {parsed.imputations} times" if parsed.imputations > 1 else ""
    print(f"wrote {len(items)} items, filled in{times}, and a preview to {parsed.out}", file=sys.stderr)
    return 0
