"""Fill in what is missing of items: the holes of pictures, the gaps of texts."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import tyro

from ..core import plugins
from ._model import chosen, conditions, flag, parse_on_model


def run(arguments: list[str]) -> int:
    mask = (
        "Of pictures left, right, top, bottom, middle, or a picture, white where to fill; None: transparency. Of texts "
        "the character that stands for one to come; None: _. Of tables the columns to fill, parted by commas."
    )
    fields = [
        ("source", flag(tyro.conf.Positional[Path], "An item, or a folder or file of items."), dataclasses.MISSING),
        ("mask", flag(str | None, mask), None),
        (
            "draws",
            flag(int, "How often to fill in, each time into a folder of its own: where they differ is a guess."),
            1,
        ),
        ("separator", flag(str | None, "What parts the texts of a text file, as in `fit`; None: it is one."), None),
    ]
    parsed = parse_on_model(arguments, "impute", "DIR SOURCE --out PATH", __doc__, fields)

    from ..core.codec import RowCodec
    from ..core.errors import UserError
    from ..data.sources import open_source
    from ..pipeline import load
    from ..samples import save_items

    pipeline = load(parsed.folder)
    files = plugins.load("modalities", pipeline.modality, "files")
    rows = pipeline.codec if isinstance(pipeline.codec, RowCodec) else None
    if rows:
        items = rows.adopted(files.read(parsed.source))
    elif parsed.source.is_file() and parsed.source.suffix.lower() in files.SUFFIXES and not parsed.separator:
        items = [files.read(parsed.source)]
    else:
        source = open_source(str(parsed.source), pipeline.modality, separator=parsed.separator)
        items = [source.read(index) for index in range(len(source))]
    holes = plugins.load("modalities", pipeline.modality, "holes").find(items, parsed.mask)
    if rows and parsed.condition:
        raise UserError("--condition does not apply to rows that are given; fill in the cells instead")
    condition = conditions(parsed.condition, len(items), pipeline)
    if parsed.draws < 1:
        raise UserError(f"--draws is {parsed.draws}; expected at least 1")
    for draw in range(parsed.draws):
        seed, out = parsed.seed + draw * len(items), parsed.out / f"draw-{draw + 1}" if parsed.draws > 1 else parsed.out
        filled = pipeline.impute(items, holes, seed=seed, condition=condition, batch=parsed.batch, **chosen(parsed))
        save_items(out, pipeline, [filled] if rows else filled)
    often = f" {parsed.draws} times" if parsed.draws > 1 else ""
    print(f"wrote {len(filled)} items, filled in{often}, and a sheet to {parsed.out}", file=sys.stderr)
    return 0
