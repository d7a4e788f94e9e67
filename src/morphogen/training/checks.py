"""What a fit refuses before it costs time: an output folder inside its source, a batch beyond the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..data.base import Source
from ..data.sources import EMBEDDED

_MAX_BATCH = 4096  # items, which any set of data may have as a batch


def check_output(out: Path, source: Any) -> None:
    """Raise UserError where the output folder lies in the folder of the source, whose files it would join."""
    spec = source.spec if isinstance(source, Source) else source
    if not isinstance(spec, (str, Path)) or spec in EMBEDDED:
        return
    folder = Path(spec).expanduser()
    try:
        is_inside = folder.is_dir() and out.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):
        return  # opening the source says why it is none
    if is_inside:
        raise UserError(f"--out {out} is inside the source {folder}, which it would change; choose another folder")


def check_batch(batch: int | None, examples: int) -> None:
    """Raise UserError where a batch would hold the training data more than once, and thousands of items."""
    most = max(_MAX_BATCH, examples)
    if batch is not None and batch > most:
        raise UserError(
            f"--train.batch is {batch:,}, and there are {examples:,} examples to train on; expected at most {most:,}"
        )
