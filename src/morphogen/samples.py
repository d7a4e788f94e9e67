"""A folder of samples, and the record from which the same samples can be made again."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from pydantic_core import PydanticSerializationError

from .core.config import read_json, replacing, write_json
from .core.errors import UserError
from .core.files import file_hash, guard, inside
from .core.modality import Modality, modality
from .core.query import Query
from .core.records import SAMPLES_FORMAT, SamplesRecord, parse_record
from .pipeline import Pipeline
from .version import __version__

_SHOWN = 100  # items, in the preview


def is_single_file(out: Path, own: Modality[Any]) -> bool:
    """Return whether the items are to be written to one file, by its name; an existing folder is one all the same."""
    return out.name.lower().endswith(own.single_files) and not out.is_dir()


def record_beside(file: Path) -> Path:
    """Return the path of the record of the samples in a single file."""
    return file.with_name(f"{file.name}.samples.json")


def record_of(samples: Path, own: Modality[Any]) -> Path:
    """Return the path of the record of samples, which are a folder, a single file, or the record itself."""
    if samples.is_dir():
        return samples / "samples.json"
    return record_beside(samples) if is_single_file(samples, own) else samples


def save_samples(
    out: Path,
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

    Where `out` is a file by its name, see `is_single_file`, write the items to it, and the record beside it. Raises
    UserError where the disk refuses, and as `Pipeline.stream` does.
    """
    record = {
        "format": SAMPLES_FORMAT,
        "model": pipeline.hash,
        "family": pipeline.family,
        "modality": pipeline.modality,
        "seeds": {"first": seed, "count": count},
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
    own = modality(pipeline.modality)
    if is_single_file(out, own):
        _save_file(out, own, parts, record)
        return
    with _all_or_nothing(out) as temporary:
        files = _write(temporary, pipeline, parts)
        write_json(temporary / "samples.json", {**record, "files": [path.name for path in files]})


def _make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {path} cannot be written: {error.strerror}") from None


def _save_file(path: Path, own: Modality[Any], parts: Iterable[Any], record: Mapping[str, Any]) -> None:
    """Write items to one file, and their record beside it, both or none."""
    _make_parent(path)
    own.write_file(parts, path)
    try:
        write_json(record_beside(path), {**record, "files": [path.name]})
    except BaseException:
        path.unlink()
        raise


def save_items(
    out: Path, pipeline: Pipeline, parts: Iterable[Any], *, names: Sequence[str] = (), skipped: Sequence[str] = ()
) -> None:
    """Write collections of imputed items, one after the other, a preview of the first items, and `imputed.json`.

    The record maps each file to the name of the item that it was made from, where there is a file for each of `names`,
    and lists what was `skipped`. Where `out` is a file by its name, see `is_single_file`, write the items to it, and
    nothing else. Raises UserError where the disk refuses.
    """
    own = modality(pipeline.modality)
    if is_single_file(out, own):
        _make_parent(out)
        own.write_file(parts, out)
        return
    with _all_or_nothing(out) as temporary:
        files = [path.name for path in _write(temporary, pipeline, parts)]
        made_from = dict(zip(files, names, strict=True)) if len(files) == len(names) else {}
        write_json(temporary / "imputed.json", {"files": made_from, "skipped": list(skipped)})


def read_samples(record: Path, pipeline: Pipeline) -> SamplesRecord:
    """Return what `samples.json` says. Raises UserError where it is no such record, or one of another model."""
    data = read_json(record)
    if isinstance(data, dict) and type(written := data.get("format")) is int and written != SAMPLES_FORMAT:
        raise UserError(f"{record} has format {written!s:.20}; this morphogen reads {SAMPLES_FORMAT}; sample again")
    samples = parse_record(data, SamplesRecord, str(record), "sample again")
    if samples.model != pipeline.hash:
        raise UserError(f"{record} was made by model {samples.model[:16]}; this one is {pipeline.hash[:16]}")
    return samples


def load_samples(record: Path, pipeline: Pipeline) -> Any:
    """Return the items in the files of `samples.json`, as the modality's own collection.

    Raises UserError where they are not as many as the record says, or one cannot be read.
    """
    samples, own = read_samples(record, pipeline), modality(pipeline.modality)
    files = [inside(record.parent, name) for name in samples.files]
    with guard(record.parent, "cannot be read as samples", "sample again"):
        items = own.load(files)
    if len(items) != samples.seeds.count:
        raise UserError(
            f"{record} names the files of {len(items)} samples, and has {samples.seeds.count} seeds; sample again"
        )
    return items


def replay(record: Path, pipeline: Pipeline) -> Any:
    """Return the items that `samples.json` describes, sampled again, as the modality's own collection.

    Raises UserError where the model is another one, or the record or the file of a condition was changed.
    """
    samples = read_samples(record, pipeline)
    for file, digest in _condition_hashes(pipeline, samples.query.get("condition", {})).items():
        if samples.condition_files.get(file) != digest:
            raise UserError(f"the condition {file} was changed after {record} was written; restore it")
    parts = pipeline.stream(
        samples.query,
        count=samples.seeds.count,
        seed=samples.seeds.first,
        batch=samples.batch,
        controls=samples.controls,
    )
    return modality(pipeline.modality).concatenate(list(parts))


def _dump(query: Query) -> dict[str, Any]:
    try:
        return query.model_dump(mode="json")
    except PydanticSerializationError:
        raise UserError("a condition is an item in memory, which no record can hold; give its file") from None


def _condition_hashes(pipeline: Pipeline, condition: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of each file that is a condition and can be read."""
    files: set[str] = set()
    if not isinstance(condition, Mapping):
        return {}
    for name in pipeline.artifact.required_conditions:
        value = condition.get(name)
        values = value if isinstance(value, (list, tuple)) else [value]
        files |= {str(one) for one in values if isinstance(one, (str, Path))}
    hashes = {file: _hash(file) for file in sorted(files)}
    return {file: digest for file, digest in hashes.items() if digest}


def _hash(file: str) -> str | None:
    """Return the SHA-256 of a file; None where it cannot be read: sampling itself says why."""
    try:
        return file_hash(Path(file)) if Path(file).is_file() else None
    except (OSError, ValueError):
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
