"""A folder of samples, and the JSON from which the same samples can be made again."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from .core import plugins
from .core.codec import RowCodec
from .core.condition import LabelCodec
from .core.config import read_json, replacing, write_json
from .core.errors import UserError
from .pipeline import Pipeline
from .sampling.form import Form
from .version import __version__

FORMAT = 1
_LISTED = 10_000  # seeds


def save_samples(
    folder: Path,
    pipeline: Pipeline,
    items: Any,
    *,
    count: int,
    seed: int,
    condition: Mapping[str, Any],
    prompt: str | None = None,
    form: Form | None = None,
    batch: int | None,
    controls: Mapping[str, Any],
) -> None:
    """Write the items, a sheet of the first ones, and `samples.json`. Raises UserError where the disk refuses.

    Of rows, `items` are tables, one after the other, of which only one is held at a time.
    """
    with _whole(folder) as fresh:
        written = _write(fresh, pipeline, items)
        record = {
            "format": FORMAT,
            "model": pipeline.hash,
            "family": pipeline.family,
            "seeds": list(range(seed, seed + count)) if count <= _LISTED else {"first": seed, "count": count},
            "condition": dict(condition),
            "condition_files": _hashes(pipeline, condition),
            "prompt": prompt,
            "form": form.model_dump(mode="json") if form else {},
            "controls": pipeline.controls(controls).model_dump(mode="json"),
            "batch": batch,
            "precision": pipeline.precision,
            "device": pipeline.model.device.type,
            "threads": torch.get_num_threads(),
            "versions": {
                "morphogen": __version__,
                "torch": torch.__version__,
                "python": ".".join(map(str, sys.version_info[:3])),
            },
            "files": [path.name for path in written],
        }
        write_json(fresh / "samples.json", record)


def _hashes(pipeline: Pipeline, condition: Mapping[str, Any]) -> dict[str, str]:
    """The hash of each file that is a condition."""
    files = {
        str(value)
        for name, values in condition.items()
        if name in pipeline.conditions and not isinstance(pipeline.conditions[name], LabelCodec)
        for value in (values if isinstance(values, list) else [values])
        if isinstance(value, (str, Path))
    }
    return {file: digest for file in sorted(files) if (digest := _hash(file))}


def _hash(file: str) -> str | None:
    """SHA-256; None where the file cannot be read, of which the sampler tells more."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return None


def save_items(folder: Path, pipeline: Pipeline, items: Any) -> None:
    """Write the items, of rows tables one after the other, and a sheet of the first ones.

    Raises UserError where the disk refuses.
    """
    with _whole(folder) as fresh:
        _write(fresh, pipeline, items)


def _write(folder: Path, pipeline: Pipeline, items: Any) -> list[Path]:
    files = plugins.load("modalities", pipeline.modality, "files")
    view = plugins.load("modalities", pipeline.modality, "view")
    if isinstance(pipeline.codec, RowCodec):
        parts = iter(items)
        first = next(parts)
        items, head = chain([first], parts), first
    else:
        head = items[:100]
    written: list[Path] = files.write(items, folder)
    with replacing(folder / "sheet.png") as temporary:
        view.sheet(head).save(temporary, format="PNG")
    return written


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder inside `folder` whose files move up to it when the block ends well, and else are gone."""
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".", dir=folder))
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror}") from None
    try:
        yield fresh
        for path in sorted(fresh.iterdir(), key=lambda path: path.name == "samples.json"):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if made:
            with suppress(OSError):  # it holds the samples
                folder.rmdir()


def replay(record: Path, pipeline: Pipeline) -> Any:
    """The items that `samples.json` describes, made again. Raises UserError where the model is another one."""
    data = read_json(record)
    try:
        if data["format"] > FORMAT:
            raise UserError(f"{record} has format {data['format']}; this morphogen reads up to {FORMAT}")
        if data["model"] != pipeline.hash:
            raise UserError(f"{record} was made by model {data['model'][:16]}; this one is {pipeline.hash[:16]}")
        seeds = data["seeds"]
        if isinstance(seeds, dict):
            seeds = range(seeds["first"], seeds["first"] + seeds["count"])
        if list(seeds) != list(range(seeds[0], seeds[0] + len(seeds))):
            raise UserError(f"{record} has seeds that do not follow each other; it was changed, draw anew")
        for file, digest in dict(data.get("condition_files", {})).items():
            if _hash(file) not in (digest, None):
                raise UserError(f"the condition {file} was changed since {record} was written; restore it or draw anew")
        return pipeline.sample(
            len(seeds),
            seed=seeds[0],
            condition=data["condition"],
            prompt=data.get("prompt"),
            form=data.get("form"),
            batch=data["batch"],
            **data["controls"],
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{record} is not a record of samples: {error!r} is missing") from None
