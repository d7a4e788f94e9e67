"""From a model to an evaluation: what `morphogen evaluate` does."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..core import plugins
from ..core.codec import RowCodec
from ..core.errors import UserError, unknown
from ..pipeline import Pipeline, load
from ..through import innermost
from ..version import __version__
from . import differences, disclosure, downstream, likelihoods, processes
from .extracting import MODEL, OWN, chosen, kept_before, seen_by
from .extractors.opening import NAMES
from .likeness import constant, likeness
from .metrics import discrepancy
from .reading import conditions, not_trained_on, read_subject, seen
from .results import Check, Evaluation
from .sides import parted, sides, without
from .subject import Findings, Subject
from .verdict import verdict
from .writing import command, sheets, write

Say = Callable[[str], None]

_SAMPLES = 1000  # where the modality does not say
_MOST_REAL, _MOST_TRAIN = 10_000, 60_000  # items
_MOST_ROWS = 200_000
_BYTES = 1_000_000_000  # of training items that are held, at the model's size
_DRAWS = 30  # halves, for intervals
_LEAST = 2  # items of each side, without which nothing can be said


def evaluate(
    model: Pipeline | Path | str,
    *,
    data: Any = None,
    source: Any = None,
    count: int | None = None,
    seed: int = 0,
    extractor: str | Path | None = None,
    extractor_weights: str | Path | None = None,
    label: str | None = None,
    target: str | None = None,
    batch: int | None = None,
    out: Path | str | None = None,
    say: Say | None = print,
    **controls: Any,
) -> Evaluation | None:
    """Judge a model, or its folder, on the items held out at fit time, and write the report; returns what was found.

    `data` are other items that the model has not seen; those that it was trained on are refused. `source` is where
    the training source is now, if it moved. `count` items are generated, with `seed` and the next ones, under
    `controls`. `extractor` is `own`, `model`, `inception-2015`, `dinov2`, `clip`, `minilm`, another model's folder, or
    the one with the extractor that an evaluation kept; `extractor_weights` is the file or folder of a pretrained one.
    `label` is the column of classes, `target`, of rows, the one to learn. `out` is where `report.html` and
    `metrics.json` go: the model folder.
    Under a launcher such as torchrun, processes share the sampling; all but the first return None.
    Raises UserError where there is nothing to judge by.
    """
    started = time.monotonic()
    asked = {"data": data, "source": source, "extractor": extractor, "extractor_weights": extractor_weights}
    asked |= {"label": label, "target": target, "batch": batch}
    pipeline = model if isinstance(model, Pipeline) else load(model)
    rank, ranks = processes.started()
    tell: Say = say if say and rank == 0 else (lambda line: None)
    folder = Path(out) if out is not None else pipeline.folder
    features = plugins.load("modalities", pipeline.modality, "features")
    found = sides(pipeline, data=data, source=source, label=label)
    rows = isinstance(pipeline.codec, RowCodec)
    real = found.real.some(_MOST_REAL, seed).readable()
    most = _MOST_ROWS if rows else min(_MOST_TRAIN, _BYTES // innermost(pipeline.codec).space.dimensions)
    drawn = found.train.some(most) if found.train else None
    train = fresh = basis = drawn.readable() if drawn else None
    if train and getattr(features, "TRAINS", False) and str(extractor) not in (MODEL, *NAMES):
        fresh, basis = parted(train, _MOST_REAL)
    kept = folder / "evaluation" / "extractor" if folder is not None and train is not None else None
    if len(real) < _LEAST and pipeline.modality != "text":
        raise UserError(f"{found.data} holds {len(real)} items; expected at least {_LEAST}, better hundreds")
    if count is not None and count < _LEAST:
        raise UserError(f"{count} items are too few to judge a model by; expected at least {_LEAST}, better hundreds")
    wanted = count or min(getattr(features, "SAMPLES", _SAMPLES), max(_LEAST, len(fresh)) if fresh else 10**9)
    if pipeline.modality == "text":
        wanted = count or features.SAMPLES
    if target is not None and rows and target not in (names := real.source.block(real.indices[:1]).column_names):
        raise unknown("column", target, names)
    condition, labels, wanted = conditions(pipeline, real, wanted, found.label)
    codec = innermost(pipeline.codec)
    findings = Findings()
    if rank == 0:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        real = not_trained_on(real, train, codec, found, data is not None, findings)
        if train is None or drawn is None or found.train is None:
            findings.lacks("ceiling", found.why)
        elif rest := len(found.train) - len(drawn):
            findings.lacks(f"copies of {rest:,} training items", f"{len(drawn):,} others, drawn by chance, were read")
        if basis is None:
            basis = real
            own = extractor in (None, OWN) and kept_before(pipeline, kept, "") is None
            if own and getattr(features, "TRAINS", False):
                basis = real.some(len(real) // 2, seed + 1)  # and is judged by the others
                real = without(real, np.isin(real.indices, basis.indices))
                findings.lacks("half of the items", "they had to train the extractor, as there are no training items")
        elif basis is not fresh and extractor not in (None, OWN) and seen_by(Path(str(extractor))) != basis.digest():
            findings.lacks(
                "whether the extractor has seen what it compares",
                "it was trained for another model: where on these training items, it sees them as no others",
            )
        looked = chosen(
            extractor,
            extractor_weights,
            pipeline=pipeline,
            kept=kept,
            blocks=seen(features, codec, basis.blocks()),
            labels=basis.labels,
            codec=codec,
            seed=0,
            trained_on=basis.digest() if train is not None else "",
        )
    tell(f"making {wanted:,} items to judge …")
    generated = processes.sampled(
        pipeline,
        wanted,
        seed=seed,
        condition=condition,
        controls=controls,
        batch=batch,
        rank=rank,
        ranks=ranks,
        progress=_told(tell, wanted),
    )
    if rank:
        return None
    tell(f"features by {looked.name} …")
    subject = read_subject(pipeline, codec, looked, real, train, fresh, generated, labels, seed, found.label)
    subject.target = target
    _measure(subject, findings, tell)
    evaluation = Evaluation(
        morphogen=__version__,
        model=pipeline.hash,
        family=pipeline.family,
        modality=pipeline.modality,
        data=found.data,
        extractor=looked.name,
        seed=seed,
        real=len(subject.real),
        generated=len(subject.generated),
        train=len(subject.train) if subject.train else 0,
        controls=pipeline.controls(controls).model_dump(mode="json"),
        command=command(pipeline, seed, wanted, asked, _changed(pipeline, controls)),
        seconds=round(time.monotonic() - started, 1),
        verdict=verdict(findings.checks, findings.figures, real=len(subject.real), shifted=subject.shifted),
        checks=findings.checks,
        figures=findings.figures,
        not_measured=findings.not_measured,
        classes=findings.classes,
        columns=findings.columns,
    )
    if folder is not None:
        sheets(findings, pipeline, generated, subject)
        write(folder, pipeline, evaluation, findings)
    return evaluation


def _changed(pipeline: Pipeline, controls: dict[str, Any]) -> dict[str, Any]:
    """The controls that are not as they come."""
    usual = pipeline.controls({})
    return {name: value for name, value in controls.items() if value != getattr(usual, name, None)}


def _told(tell: Say, count: int) -> Callable[[int], None]:
    """After the first batch, how long it will take."""
    started = time.monotonic()
    said: list[int] = []

    def progress(done: int) -> None:
        if not said and done < count:
            said.append(done)
            seconds = (time.monotonic() - started) / done * (count - done)
            if seconds > 20:
                tell(f"about {seconds / 60:.1f} minutes more; -n makes fewer")

    return progress


def _measure(subject: Subject, findings: Findings, tell: Say) -> None:
    features = {"real": subject.real.features, "generated": subject.generated.features}
    if subject.as_many and len(subject.as_many) == len(subject.generated):
        features["train"] = subject.as_many.features
    elif subject.as_many:
        count = len(subject.as_many)
        why = f"{count:,} training items can be compared, and there are {len(subject.generated):,} generated ones; "
        why += f"give -n {count}"
        findings.lacks("ceiling of distances", why)
    if subject.floor:
        features["floor"] = subject.floor.features
    if len(subject.real) < _LEAST:
        raise UserError(f"there are {len(subject.real)} items to judge by; expected at least {_LEAST}")
    for side in ("real", "generated"):
        if constant(features[side]):
            findings.lacks(
                "all that compares features",
                f"the features of the {side} items are all alike, so that no distance means anything",
            )
            if side == "generated":
                count = len(subject.generated)
                says = f"All {count:,} generated items are one and the same to {subject.extractor.name}."
                findings.checks.append(Check(name="repeats", found=True, says=says))
            break
    else:
        tell("distances …")
        if subject.as_many and min(len(subject.real), len(subject.as_many)) >= 20:
            subject.alike = discrepancy.p_value(subject.real.features, subject.as_many.features, seed=subject.seed)
        figures, missing = likeness(features, subject.extractor.name, seed=subject.seed, draws=_DRAWS)
        findings.figures += figures
        findings.not_measured += missing
        if len(subject.real) < 10 * subject.real.features.shape[1]:
            findings.lacks(
                "a Fréchet distance that compares across numbers of items",
                f"{len(subject.real):,} held-out items are fewer than ten times the {subject.real.features.shape[1]} "
                "dimensions: read it beside its ceiling only",
            )
        differences.told_apart(subject, findings)
        differences.regions(subject, findings)
        tell("copies and membership …")
        disclosure.copying_and_privacy(subject, findings)
    differences.classes(subject, findings)
    tell("likelihood …")
    likelihoods.likelihood(subject, findings)
    if not isinstance(subject.codec, RowCodec):  # of rows, any column may be what is learned
        downstream.usefulness(subject, findings)
    try:
        own = importlib.import_module(f".of_{subject.pipeline.modality}", __package__)
    except ModuleNotFoundError as missing:
        if missing.name != f"{__package__}.of_{subject.pipeline.modality}":
            raise
        return
    own.measure(subject, findings)
