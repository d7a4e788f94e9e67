"""From a model to an evaluation: what `morphogen evaluate` does."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..card import write_card
from ..core import plugins
from ..core.codec import Codec, RowCodec
from ..core.condition import LabelCodec
from ..core.config import write_json
from ..core.errors import UserError, unknown
from ..core.extractor import Extractor
from ..pipeline import Pipeline, load
from ..through import innermost
from ..version import __version__
from . import differences, disclosure, downstream, likelihoods, processes
from .extracting import chosen
from .likeness import constant, in_order, likeness
from .metrics import discrepancy
from .report.material import Curve
from .report.page import write_report
from .results import Check, Evaluation
from .sides import Side, Sides, excerpts, fingerprints, overlap, sides, without
from .subject import Findings, Sample, Subject, joined, taken
from .texts.passages import length_of, passages
from .verdict import verdict

Say = Callable[[str], None]

_SAMPLES = 1000  # where the modality does not say
_MOST_REAL, _MOST_TRAIN = 10_000, 60_000  # items
_MOST_ROWS = 200_000
_DRAWS = 30  # halves, for intervals
_SHOWN = 64  # items of a sheet
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
    pipeline = model if isinstance(model, Pipeline) else load(model)
    rank, ranks = processes.started()
    tell: Say = say if say and rank == 0 else (lambda line: None)
    folder = Path(out) if out is not None else pipeline.folder
    features = plugins.load("modalities", pipeline.modality, "features")
    found = sides(pipeline, data=data, source=source, label=label)
    rows = isinstance(pipeline.codec, RowCodec)
    real = found.real.some(_MOST_REAL, seed).readable()
    train = found.train.some(_MOST_ROWS if rows else _MOST_TRAIN, seed) if found.train else None
    if len(real) < _LEAST and pipeline.modality != "text":
        raise UserError(f"{found.data} holds {len(real)} items; expected at least {_LEAST}, better hundreds")
    wanted = count or min(getattr(features, "SAMPLES", _SAMPLES), max(_LEAST, len(train)) if train else 10**9)
    if pipeline.modality == "text":
        wanted = count or features.SAMPLES
    if target is not None and rows and target not in (names := real.source.block(real.indices[:1]).column_names):
        raise unknown("column", target, names)
    condition, labels, wanted = _conditions(pipeline, real, wanted, found.label)
    codec = innermost(pipeline.codec)
    findings = Findings()
    if rank == 0:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        real, train = _not_trained_on(real, train, codec, found, data is not None, findings)
        if train is None:
            findings.lacks("ceiling", found.why)
        basis = (train or real).readable()
        looked = chosen(
            extractor,
            extractor_weights,
            pipeline=pipeline,
            kept=folder / "evaluation" / "extractor" if folder is not None else None,
            blocks=_seen(features, codec, basis.blocks()),
            labels=basis.labels,
            codec=codec,
            seed=0,
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
    subject = _subject(pipeline, codec, looked, real, train, generated, labels, seed, found.label)
    _measure(subject, findings, target, tell)
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
        command=_command(pipeline, seed, wanted, data, extractor, extractor_weights, target),
        seconds=round(time.monotonic() - started, 1),
        verdict=verdict(findings.checks, findings.figures, real=len(subject.real), shifted=subject.shifted),
        checks=findings.checks,
        figures=findings.figures,
        not_measured=findings.not_measured,
        classes=findings.classes,
        columns=findings.columns,
    )
    if folder is not None:
        _sheets(findings, pipeline, generated, subject)
        _write(folder, pipeline, evaluation, findings)
    return evaluation


def _conditions(
    pipeline: Pipeline, real: Side, count: int, label: str | None
) -> tuple[dict[str, list[Any]], list[str] | None, int]:
    """What generated items are asked to be: of the classes that held-out items have, as often; of smaller pictures
    those of held-out ones. With the labels, and how many there can be.
    """
    condition: dict[str, list[Any]] = {}
    labels = None
    for name, codec in pipeline.conditions.items():
        if isinstance(codec, LabelCodec):
            column = real.source.columns.get(name)
            every = sorted(column[index] for index in real.indices.tolist()) if column is not None else []
            known = [one for one in every if one in codec.names] or list(codec.names)
            order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()  # or all of one first
            condition[name] = [known[at * len(known) // count] for at in order]
            if name == label:
                labels = condition[name]
        else:
            items = joined(list(real.some(count).blocks()))
            count = min(count, len(items))
            condition[name] = items[:count]
    return {name: values[:count] for name, values in condition.items()}, labels, count


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


def _not_trained_on(
    real: Side, train: Side | None, codec: Codec[Any], found: Sides, foreign: bool, findings: Findings
) -> tuple[Side, Side | None]:
    """The items less those that the model was trained on. Raises UserError where that is most of them."""
    name = "training items in the evaluation"
    if train is None:
        findings.lacks(name, f"could not be looked for: {found.why}")
        return real, None
    # All training items, and not only those that are looked at.
    assert found.train is not None
    shared = overlap(fingerprints(codec, real.blocks()), fingerprints(codec, found.train.readable().blocks()))
    if foreign and found.train.source.modality == "text":
        texts = [joined(list(side.readable().blocks())) for side in (real, found.train)]
        shared = replace(shared, hits=shared.hits | excerpts(*texts))
    says = f"{shared.count:,} of {len(real):,} items to judge by are training items"
    if shared.expected >= 1:
        says += f"; of as many new ones {shared.expected:,.0f} would be, for many items are found twice"
    if shared.smuggled and foreign:
        if shared.count > len(real) / 2:
            raise UserError(
                f"{says}: the model has seen {found.data}. Give --data with items that it was not trained on, or none "
                "for those held out"
            )
        says += "; they were left out"
        findings.checks.append(Check(name=name, found=True, says=f"{says}."))
        return without(real, shared.hits), train
    findings.checks.append(Check(name=name, found=shared.smuggled, says=f"{says}."))
    return real, train


def _seen(features: Any, codec: Codec[Any], blocks: Any) -> Any:
    """Items as the model could have made them, where the modality tells a difference."""
    seen = getattr(features, "seen", None)
    return (seen(block, codec) for block in blocks) if seen else blocks


def _subject(
    pipeline: Pipeline,
    codec: Codec[Any],
    extractor: Extractor[Any],
    real: Side,
    train: Side | None,
    generated: list[Any],
    labels: list[str] | None,
    seed: int,
    label: str | None,
) -> Subject:
    features = plugins.load("modalities", pipeline.modality, "features")

    def read(side: Side) -> tuple[Any, list[str] | None]:
        side = side.readable()
        return joined(list(_seen(features, codec, side.blocks()))), side.labels

    made = joined(generated) if isinstance(pipeline.codec, RowCodec) else generated
    items = {"real": read(real), "generated": (made, labels)}
    if train is not None:
        items["train"] = read(train)
    corpus = items["train"][0] if "train" in items else None
    if pipeline.modality == "text" and (length := length_of(items["real"][0], made)):
        items = {side: (passages(texts, length), None) for side, (texts, _) in items.items()}
    found = {side: _sample(extractor, *one) for side, one in items.items()}
    count = len(found["generated"])
    as_many = _drawn(found["train"], count, seed) if "train" in found else None
    base = as_many or found["real"]
    floor = _sample(extractor, features.floor(base.items, seed), None)
    return Subject(
        pipeline=pipeline,
        codec=codec,
        extractor=extractor,
        seed=seed,
        real=found["real"],
        generated=found["generated"],
        train=found.get("train"),
        as_many=as_many,
        floor=floor,
        corpus=corpus,
        label=label,
    )


def _sample(extractor: Extractor[Any], items: Any, labels: list[str] | None) -> Sample:
    """Items with their features, in an order that only these settle."""
    parts = [
        extractor.features(taken(items, list(range(start, min(start + extractor.at_once, len(items))))))
        for start in range(0, len(items), extractor.at_once)
    ]
    features = torch.cat(parts) if parts else torch.empty(0, 1)
    return Sample(items, features, labels).take(in_order(features))


def _drawn(train: Sample, count: int, seed: int) -> Sample:
    """So many of the training items."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    return train.take(order[:count].sort().values)


def _measure(subject: Subject, findings: Findings, target: str | None, tell: Say) -> None:
    features = {"real": subject.real.features, "generated": subject.generated.features}
    if subject.as_many:
        features["train"] = subject.as_many.features
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
    if subject.pipeline.modality == "table":
        from . import of_table

        of_table.measure(subject, findings, target)
        return
    downstream.usefulness(subject, findings)
    try:
        own = importlib.import_module(f".of_{subject.pipeline.modality}", __package__)
    except ModuleNotFoundError:
        return
    own.measure(subject, findings)


def _sheets(findings: Findings, pipeline: Pipeline, generated: list[Any], subject: Subject) -> None:
    """The first items, as they were drawn, and as many held-out ones."""
    view = plugins.load("modalities", pipeline.modality, "view")
    made = joined(generated) if isinstance(pipeline.codec, RowCodec) else generated
    first = list(range(min(_SHOWN, len(made))))
    findings.material.shown = len(first)
    findings.material.generated = view.sheet(taken(made, first))
    findings.material.curves = _curves(pipeline)
    beside = taken(subject.real.items, first[: len(subject.real)])
    findings.material.real = view.sheet(beside)


def _command(
    pipeline: Pipeline,
    seed: int,
    count: int,
    data: Any,
    extractor: str | Path | None,
    weights: str | Path | None,
    target: str | None,
) -> str:
    """What does it again on the command line; no path leads further than its last name."""
    said = ["morphogen evaluate", pipeline.folder.name if pipeline.folder else "DIR", f"--seed {seed}", f"-n {count}"]
    for flag, value in (("data", data), ("extractor", extractor), ("extractor-weights", weights)):
        if value is not None:
            said.append(f"--{flag} {Path(value).name if isinstance(value, (str, Path)) else flag.upper()}")
    return " ".join([*said, *([f"--target {target}"] if target else [])])


def _curves(pipeline: Pipeline) -> list[Curve]:
    """What was followed during training, where the fit kept it."""
    kept = pipeline.metrics.get("training", {}).get("curves", {})
    return [
        Curve(name, [float(at) for at, _ in points], [float(value) for _, value in points])
        for name, points in kept.items()
        if len(points) > 1
    ]


def _write(folder: Path, pipeline: Pipeline, evaluation: Evaluation, findings: Findings) -> None:
    record: Mapping[str, Any] = evaluation.model_dump(mode="json")
    write_report(folder / "report.html", evaluation, findings.material)
    pipeline.metrics["evaluation"] = record
    write_json(folder / "metrics.json", pipeline.metrics)
    if pipeline.folder is not None and folder.resolve() == pipeline.folder.resolve():
        write_card(folder, pipeline)
