"""From a source to a model folder: the whole of `morphogen fit`."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ..artifact import Artifact
from ..card import write_card
from ..core.codec import Codec
from ..core.config import Frozen, build
from ..core.errors import UserError
from ..core.files import as_path
from ..core.isolation import isolated
from ..core.log import say as log
from ..data.base import Source
from ..data.remembered import remember
from ..data.sources import EMBEDDED, open_source
from ..model_folder import load_artifact
from ..pipeline import Pipeline
from .checks import check_batch, check_output
from .dataset import Dataset, open_dataset
from .options import TrainOptions
from .output_lock import OutputLock
from .prepare import prepare
from .probe import Choice, Probe, build_model
from .processes import start_processes
from .resolve import Job, choose_family, resolve
from .run import train_model
from .signals import Interrupted
from .spec import FitSpec, Probed, Say, minutes_of
from .threads import candidates

_FEW_STEPS = 100
_MIN_TRAINING = 0.1  # of the minutes: what training keeps, however long the start takes


def fit(
    source: Any,
    *,
    out: Path | str | None = None,
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
    started: float | None = None,
    say: Say | None = log,
) -> Pipeline:
    """Train a family on a source, write the model folder `out`, and return its pipeline.

    `source` is a path, a Hub id, an array, a frame, a list of items, `(items, labels)`, or an opened source; `column`
    is that of its items, `separator` divides a text file into documents. Without `out` the folder is a temporary one
    that is deleted with the pipeline: `Pipeline.save` keeps the model. `family` is by default the modality's first
    choice for such items. `minutes` is the whole budget, reading and encoding included, from `started` on, a time by
    `time.monotonic()`, by default now. `train` holds TrainOptions, `options` those of the model, `codec` those of the
    modality. With `autoencoder`, a trained model or its folder, the family models its latents. With `super_resolution`,
    a factor, the model enlarges its condition `low_res`. Lines about the progress go to `say`, by default the logger
    `morphogen`. Raises UserError on input it cannot use, and Interrupted after Ctrl-C or SIGTERM, with a checkpoint
    saved; see `resume`.
    """
    started = time.monotonic() if started is None else started
    train_options = train if isinstance(train, TrainOptions) else build(TrainOptions, train or {}, "train")
    minutes = minutes_of(minutes, train_options)
    if out is not None:
        check_output(as_path(out, "out"), source)
    with isolated():
        process = start_processes()
        with _output(out, process) as folder:
            if process.is_main_process:
                opened = open_source(source, modality, column, separator)
                model = _artifact(autoencoder)
                whole = model is None and super_resolution is None
                values = {
                    "source": _reopening(opened, folder),
                    "column": opened.column,
                    "separator": opened.separator,
                    "modality": opened.modality,
                    "family": choose_family(family, opened, codec or {}, minutes, say or _say_nothing, whole=whole),
                    "conditions": (condition,) if isinstance(condition, str) else condition or (),
                    "autoencoder": None if model is None else model.hash,
                    "super_resolution": super_resolution,
                    "options": options or {},
                    "codec": codec or {},
                    "train": train_options,
                    "minutes": minutes,
                }
                spec = build(FitSpec, values, "fit")
                _start(spec, opened, model, folder, process, say or _say_nothing, started)
            pipeline = _train(folder, process, say, resume=False)
            if process.is_main_process:
                remember(pipeline.artifact, opened)
    if out is None:
        weakref.finalize(pipeline, shutil.rmtree, folder, ignore_errors=True)
        (say or _say_nothing)("that folder is deleted with the pipeline; pipeline.save(FOLDER) keeps the model")
    return pipeline


def resume(out: Path | str, *, say: Say | None = log) -> Pipeline:
    """Continue the interrupted fit in the folder `out` with its own settings, and return its pipeline.

    Raises UserError where there is no such fit, and Interrupted as `fit` does.
    """
    out = Path(out)
    with isolated():
        process = start_processes()
        with OutputLock(out, resume=True) if process.is_main_process else nullcontext():
            return _train(out, process, say, resume=True)


@contextmanager
def _output(out: Path | str | None, process: PartialState) -> Iterator[Path]:
    """Yield the locked output folder: `out`, or a temporary one, which outlives the block unless the fit fails."""
    if out is not None:
        with OutputLock(Path(out), resume=False) if process.is_main_process else nullcontext():
            yield Path(out)
        return
    if process.num_processes > 1:
        raise UserError(f"{process.num_processes} processes train together, which share a folder; give `out`")
    folder = Path(tempfile.mkdtemp(prefix="morphogen-"))
    try:
        with OutputLock(folder, resume=False):
            yield folder
    except Interrupted:  # the message names the folder with the checkpoint
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


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
    threads = candidates(spec.train.threads, process.device, process.num_processes)
    say(f"{source.description}: {len(source):,} items, taken for modality '{source.modality}'")
    spec.write(out)
    prepared = prepare(job, out, say).write(out)
    check_batch(spec.train.batch, prepared.examples)
    say("probing …")
    opened = open_dataset(out, spec, prepared)
    options = job.model.resolve_options(job.options, opened[0].space, prepared.examples)
    choice = _probe(job, opened, options, process, threads, _seconds_left(spec, started))
    say(
        f"{spec.family}: {choice.precision}, batch {choice.batch}, threads {choice.threads}, "
        f"{_difference(options, choice.options)}, about {_speed(choice)}"
    )
    Probed(
        options=choice.options.model_dump(mode="json"),
        batch=choice.batch,
        precision=choice.precision,
        threads=choice.threads,
        items_per_second=round(choice.items_per_second, 1),
        stage_rates={name: round(rate, 1) for name, rate in choice.rates.items()},
        seconds=_seconds_left(spec, started),
        start_seconds=round(time.monotonic() - started, 1),
        probe_seconds=round(choice.seconds, 1),
    ).write(out)


def _probe(
    job: Job,
    opened: tuple[Codec[Any], dict[str, Codec[Any]], Dataset],
    options: Frozen,
    process: PartialState,
    threads: tuple[int, ...],
    seconds: float | None,
) -> Choice:
    codec, conditions, dataset = opened
    spaces = {name: condition.space for name, condition in conditions.items()}
    probe = Probe(
        build=build_model(job.model, codec.space, spaces, job.spec.train.seed),
        sample=lambda count: dataset.head(count, process.device),
        items=dataset.examples,
        seconds=seconds,
        options=job.spec.train,
        processes=process.num_processes,
        device=process.device,
        threads=threads,
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


def _speed(choice: Choice) -> str:
    if len(choice.rates) < 2:
        return f"{choice.items_per_second:,.0f} items/s"
    return " and ".join(f"{rate:,.0f} items/s ({name})" for name, rate in choice.rates.items())


def _finish(pipeline: Pipeline, out: Path) -> None:
    write_card(out, pipeline)
    pipeline.save(out)  # config.json comes last: with it the fit has finished
    shutil.rmtree(out / "training", ignore_errors=True)  # checkpoints and encoded data


def _say_end(pipeline: Pipeline, out: Path, say: Say) -> None:
    figures = pipeline.metrics["training"]
    if figures["steps"] < _FEW_STEPS:
        say(f"only {figures['steps']} training steps: expect noise; give more minutes")
    say(f"wrote {out}: {figures['steps']} steps in {figures['seconds']:,.0f} s")
