"""Sample recorded samples again, and say whether they match."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from ._flags import parse


@dataclass(kw_only=True)
class Replay:
    """Sample recorded samples again, and say whether they match."""

    folder: tyro.conf.Positional[Path]
    """Model folder."""
    samples: tyro.conf.Positional[Path]
    """Folder of samples, or its samples.json; or a file of samples, such as rows.csv."""


def run(arguments: list[str]) -> int:
    parsed = parse(Replay, arguments, "replay")
    import torch

    from ..core.modality import modality
    from ..latent_codec import innermost
    from ..pipeline import load
    from ..samples import load_samples, read_samples, record_of, replay

    pipeline = load(parsed.folder)
    own = modality(pipeline.modality)
    record = record_of(parsed.samples, own)
    recorded = load_samples(record, pipeline)
    items = replay(record, pipeline)
    differing = own.differing(recorded, items, innermost(pipeline.codec))
    if not differing:
        print(f"all {len(items)} samples match")
        return 0
    then = read_samples(record, pipeline).versions.get("torch", "unknown")
    print(
        f"{len(differing)} of {len(items)} samples differ, the first is number {differing[0]} "
        f"(torch {then} then, {torch.__version__} now)",
        file=sys.stderr,
    )
    return 1
