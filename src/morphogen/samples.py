"""A folder of samples, and the record from which the same samples can be made again."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from pydantic_core import PydanticSerializationError

from .core.config import read_json, replacing, write_json
from .core.errors import UserError
from .core.modality import modality
from .core.query import Query
from .pipeline import Pipeline
from .version import __version__

FORMAT = 2
_LISTED = 10_000  # seeds
_SHOWN = 100  # items, in the preview


def save_samples(
    folder: Path,
    pipeline: Pipeline,
    query: Query,
    *,
    count: int,
    seed: int,
    batch: int | None,
    controls: Mapping[str, Any],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Sample, and write the items, a preview of the first ones and `samples.json`, in bounded memory.

    Raises UserError where the disk refuses, and as `Pipeline.stream` does.
    """
    record = {
        "format": FORMAT,
        "model": pipeline.hash,
        "family": pipeline.family,
        "modality": pipeline.modality,
        "seeds": list(range(seed, seed + count)) if count <= _LISTED else {"first": seed, "count": count},
        "query": _dump(query),
        "condition_files": _condition_hashes(pipeline, query.condition),
        "controls": pipeline.artifact.controls(controls).model_dump(mode="json"),
        "batch": batch,
        "precision": pipeline.artifact.precision,
        "device": pipeline.model.device.type,
        "threads": torch.get_num_threads(),
        "versions": {
            "morphogen": __version__,
            "torch": torch.__version__,
            "python": ".".join(map(str, sys.version_info[:3])),
        },
    }
    parts = pipeline.stream(query, count=count, seed=seed, batch=batch, progress=progress, controls=controls)
    with _all_or_nothing(folder) as temporary:
        files = _write(temporary, pipeline, parts)
        write_json(temporary / "samples.json", {**record, "files": [path.name for path in files]})


def save_items(folder: Path, pipeline: Pipeline, parts: Iterable[Any]) -> None:
    """Write collections of items, one after the other, and a preview of the first items.

    Raises UserError where the disk refuses.
    """
    with _all_or_nothing(folder) as temporary:
        _write(temporary, pipeline, parts)


def replay(record: Path, pipeline: Pipeline) -> Any:
    """Return the items that `samples.json` describes, sampled again, as the modality's own collection.

    Raises UserError where the model is another one, or the record or the file of a condition was changed.
    """
    data = read_json(record)
    try:
        if data["format"] != FORMAT:
            raise UserError(f"{record} has format {data['format']}; this morphogen reads {FORMAT}; sample again")
        if data["model"] != pipeline.hash:
            raise UserError(f"{record} was made by model {data['model'][:16]}; this one is {pipeline.hash[:16]}")
        seeds = data["seeds"]
        if isinstance(seeds, dict):
            seeds = range(seeds["first"], seeds["first"] + seeds["count"])
        if list(seeds) != list(range(seeds[0], seeds[0] + len(seeds))):
            raise UserError(f"the seeds of {record} are not consecutive: it was changed; sample again")
        for file, digest in dict(data["condition_files"]).items():
            if _hash(file) not in (digest, None):
                raise UserError(f"the condition {file} was changed after {record} was written; restore it")
        query, controls = dict(data["query"]), dict(data["controls"])
        batch = None if data["batch"] is None else int(data["batch"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{record} is not a record of samples ({error!r}); sample again") from None
    parts = pipeline.stream(query, count=len(seeds), seed=seeds[0], batch=batch, controls=controls)
    return modality(pipeline.modality).concatenate(list(parts))


def _dump(query: Query) -> dict[str, Any]:
    try:
        return query.model_dump(mode="json")
    except PydanticSerializationError:
        raise UserError("a condition is an item in memory, which no record can hold; give its file") from None


def _condition_hashes(pipeline: Pipeline, condition: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of each file that is a condition."""
    files = set()
    for name in pipeline.artifact.required_conditions:
        value = condition.get(name)
        values = value if isinstance(value, (list, tuple)) else [value]
        files |= {str(one) for one in values if isinstance(one, (str, Path))}
    hashes = {file: _hash(file) for file in sorted(files)}
    return {file: digest for file, digest in hashes.items() if digest}


def _hash(file: str) -> str | None:
    """Return the SHA-256 of a file; None where it cannot be read: sampling itself says why."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return None


def _write(folder: Path, pipeline: Pipeline, parts: Iterable[Any]) -> list[Path]:
    """Write collections of items and a preview, of which the first few are held in memory; return the items' files."""
    own, rest = modality(pipeline.modality), iter(parts)
    first: list[Any] = []
    while sum(map(len, first)) < _SHOWN and (part := next(rest, None)) is not None:
        first.append(part)
    files = own.write(chain(first, rest), folder)
    items = own.concatenate(first)
    with replacing(folder / "sheet.png") as temporary:
        own.preview(own.take(items, range(min(_SHOWN, len(items))))).save(temporary, format="PNG")
    return files


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[Path]:
    """Yield a folder inside `folder` whose files move up to it if the block ends well, and else are deleted."""
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".", dir=folder))
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror}") from None
    try:
        yield temporary
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == "samples.json"):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # it holds the samples
                folder.rmdir()
