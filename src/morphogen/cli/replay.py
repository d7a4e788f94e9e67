"""Make recorded samples again and say whether they match."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from ..core.config import read_json
from ..core.errors import UserError
from ._flags import parse


@dataclass(kw_only=True)
class Replay:
    """Make recorded samples again and say whether they match."""

    folder: tyro.conf.Positional[Path]
    """Model folder."""
    samples: tyro.conf.Positional[Path]
    """Folder of samples, or its samples.json."""


def run(arguments: list[str]) -> int:
    parsed = parse(Replay, arguments, "replay")
    record = parsed.samples / "samples.json" if parsed.samples.is_dir() else parsed.samples
    import torch

    from ..core import plugins
    from ..core.codec import RowCodec
    from ..pipeline import load
    from ..samples import replay

    pipeline = load(parsed.folder)
    items = replay(record, pipeline)
    read = plugins.load("modalities", pipeline.modality, "files").read
    names = read_json(record).get("files", [])
    if isinstance(pipeline.codec, RowCodec):
        before, after = (pipeline.codec.adopted(one) for one in (read(record.parent / names[0]), items))
        if before.equals(after):
            print(f"all {len(after)} rows match")
            return 0
        print(f"the rows of {record.parent / names[0]} differ from those made now", file=sys.stderr)
        return 1
    if len(names) != len(items):
        raise UserError(f"{record} names {len(names)} files for {len(items)} samples; draw them anew")
    # Together, for sequences become as long as the longest of them.
    encoded = pipeline.codec.encode([*(read(record.parent / name) for name in names), *items])
    before, after = encoded[: len(names)], encoded[len(names) :]
    different = (before != after).flatten(1).any(1).sum().item()
    if not different:
        print(f"all {len(names)} samples match")
        return 0
    largest = (before.float() - after.float()).abs().max().item()
    recorded, current = read_json(record)["versions"]["torch"], torch.__version__
    print(
        f"{different} of {len(names)} samples differ, by {largest:.3g} at most (torch {recorded} then, {current} now)",
        file=sys.stderr,
    )
    return 1
