"""From a source to a model folder: the whole of `morphogen fit`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ..artifact import Artifact
from ..card import write_card
from ..core.config import Frozen, build
from ..core.modality import modality as modality_of
from ..data.base import Source
from ..data.sources import EMBEDDED, open_source
from ..model_folder import load_artifact
from ..pipeline import Pipeline
from .dataset import open_dataset
from .options import TrainOptions
from .output_lock import OutputLock
from .prepare import prepare
from .probe import Choice, Probe, build_model
from .processes import start_processes
from .resolve import Job, resolve
from .run import train_model
from .spec import FitSpec, Prepared, Probed, Say, minutes_of

_FEW_STEPS = 100
_MIN_TRAINING = 0.1  # of the minutes: what training keeps, however long the start takes


def fit(
    source: Any,
    *,
    out: Path | str,
    family: str | None = None,
    modality: str | None = None,
    condition: str | Sequence[str] | None = None,
    minutes: float | None = None,
    train: TrainOptions | Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    codec: Mapping[str, Any] | None = None,
    autoencoder: Path | str | Pipeline | Artifact | None = None,
    super_resolution: int | None = None,
    column: str | None = None,
    separator: str | None = None,
    say: Say | None = print,
) -> Pipeline:
    """Train a family on a source, write the model folder `out`, and return its pipeline.

    `source` is a path, a Hub id, an array, a frame, a list of items, `(items, labels)`, or an opened source; `column`
    is that of its items, `separator` divides a text file into documents. `family` is by default the modality's first
    choice. `minutes` is the whole budget, reading and encoding included. `train` holds TrainOptions, `options` those
    of the model, `codec` those of the modality. With `autoencoder`, a trained model or its folder, the family models
    its latents. With `super_resolution`, a factor, the model enlarges its condition `low_res`. Raises UserError on
    input it cannot use, and Interrupted after Ctrl-C or SIGTERM, with a checkpoint saved; see `resume`.
    """
    started, out = time.monotonic(), Path(out)
    train_options = train if isinstance(train, TrainOptions) else build(TrainOptions, train or {}, "train")
    minutes = minutes_of(minutes, train_options)
    process = start_processes()
    with OutputLock(out, resume=False) if process.is_main_process else nullcontext():
        if process.is_main_process:
            opened = open_source(source, modality, column, separator)
            model = _artifact(autoencoder)
            spec = FitSpec(
                source=_reopening(opened, out),
                column=opened.column,
                separator=opened.separator,
                modality=opened.modality,
                family=family or modality_of(opened.modality).default_family,
                conditions=(condition,) if isinstance(condition, str) else tuple(condition or ()),
                autoencoder=None if model is None else model.hash,
                super_resolution=super_resolution,
                options=dict(options or {}),
                codec=dict(codec or {}),
                train=train_options,
                minutes=minutes,
            )
            _start(spec, opened, model, out, process, say or _say_nothing, started)
        return _train(out, process, say, resume=False)


def resume(out: Path | str, *, say: Say | None = print) -> Pipeline:
    """Continue the interrupted fit in the folder `out` with its own settings, and return its pipeline.

    Raises UserError where there is no such fit, and Interrupted as `fit` does.
    """
    out, process = Path(out), start_processes()
    with OutputLock(out, resume=True) if process.is_main_process else nullcontext():
        return _train(out, process, say, resume=True)


def _train(out: Path, process: PartialState, say: Say | None, *, resume: bool) -> Pipeline:
    """Train what the records in `out/training` describe, and make the folder whole."""
    tell = say if say and process.is_main_process else _say_nothing
    process.wait_for_everyone()
    pipeline = train_model(out, resume=resume, say=tell, show=say is not None)
    if process.is_main_process:
        _finish(pipeline, out)
    process.wait_for_everyone()  # until the folder is whole
    _say_end(pipeline, out, tell)
    return pipeline


def _say_nothing(line: str) -> None:
    pass


def _artifact(autoencoder: Path | str | Pipeline | Artifact | None) -> Artifact | None:
    if autoencoder is None or isinstance(autoencoder, Artifact):
        return autoencoder
    return autoencoder.artifact if isinstance(autoencoder, Pipeline) else load_artifact(autoencoder)


def _reopening(source: Source, out: Path) -> str | None:
    """Return what opens the source again: a path from the model folder, or a name; None where it is in memory."""
    if source.spec is None:
        return None
    path = Path(source.spec).expanduser()
    return os.path.relpath(path, out) if path.exists() and source.spec not in EMBEDDED else str(source.spec)


def _start(
    spec: FitSpec,
    source: Source,
    autoencoder: Artifact | None,
    out: Path,
    process: PartialState,
    say: Say,
    started: float,
) -> None:
    """Encode the data and probe the machine; write the records of both to `out/training`."""
    job = resolve(spec, source, autoencoder)
    say(f"{source.description}: {len(source):,} items, taken for modality '{source.modality}'")
    spec.write(out)
    prepared = prepare(job, out, say).write(out)
    options = job.model.resolve_options(job.options, prepared.examples)
    choice = _probe(job, prepared, options, out, process, _seconds_left(spec, started))
    say(
        f"{spec.family}: {choice.precision}, batch {choice.batch}, {_difference(options, choice.options)}, "
        f"about {choice.items_per_second:,.0f} items/s"
    )
    Probed(
        options=choice.options.model_dump(mode="json"),
        batch=choice.batch,
        precision=choice.precision,
        items_per_second=round(choice.items_per_second, 1),
        seconds=_seconds_left(spec, started),
        start_seconds=round(time.monotonic() - started, 1),
    ).write(out)


def _probe(
    job: Job, prepared: Prepared, options: Frozen, out: Path, process: PartialState, seconds: float | None
) -> Choice:
    codec, conditions, dataset = open_dataset(out, job.spec, prepared)
    spaces = {name: condition.space for name, condition in conditions.items()}
    probe = Probe(
        build=build_model(job.model, codec.space, spaces, job.spec.train.seed),
        sample=lambda count: dataset.head(count, process.device),
        items=dataset.examples,
        seconds=seconds,
        options=job.spec.train,
        processes=process.num_processes,
        device=process.device,
    )
    return probe.choose(options, job.sizes)


def _seconds_left(spec: FitSpec, started: float) -> float | None:
    """Return what is left of the minutes, which reading, encoding and probing are part of; None: steps are counted."""
    if spec.minutes is None:
        return None
    seconds = 60 * spec.minutes
    return max(seconds - (time.monotonic() - started), _MIN_TRAINING * seconds)


def _difference(before: Frozen, after: Frozen) -> str:
    changes = {name: value for name, value in after if value != getattr(before, name)}
    return f"sized to {changes}" if changes else "at its default size"


def _finish(pipeline: Pipeline, out: Path) -> None:
    write_card(out, pipeline)
    pipeline.save(out)  # config.json comes last: with it the fit has finished
    shutil.rmtree(out / "training", ignore_errors=True)  # checkpoints and encoded data


def _say_end(pipeline: Pipeline, out: Path, say: Say) -> None:
    figures = pipeline.metrics["training"]
    if figures["steps"] < _FEW_STEPS:
        say(f"only {figures['steps']} training steps: expect noise; give more minutes")
    say(f"wrote {out}: {figures['steps']} steps in {figures['seconds']:,.0f} s")
