"""What an evaluation leaves: the report, the figures, the model card's table."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..card import write_card
from ..core import plugins
from ..core.codec import RowCodec
from ..core.config import write_json
from ..pipeline import Pipeline
from .report.material import Curve
from .report.page import write_report
from .results import Evaluation
from .subject import Findings, Subject, joined, taken

_PATHS = ("data", "source", "extractor", "extractor_weights")
_SHOWN = 64  # items of a sheet


def sheets(findings: Findings, pipeline: Pipeline, generated: list[Any], subject: Subject) -> None:
    """The first items, as they were drawn, and as many held-out ones."""
    view = plugins.load("modalities", pipeline.modality, "view")
    made = joined(generated) if isinstance(pipeline.codec, RowCodec) else generated
    first = list(range(min(_SHOWN, len(made))))
    findings.material.shown = len(first) if pipeline.modality == "image" else 0  # other sheets show what fits
    findings.material.generated = view.sheet(taken(made, first))
    findings.material.curves = _curves(pipeline)
    beside = taken(subject.real.items, first[: len(subject.real)])
    findings.material.real = view.sheet(beside)


def command(pipeline: Pipeline, seed: int, count: int, flags: Mapping[str, Any], controls: Mapping[str, Any]) -> str:
    """What does it again on the command line; no path leads further than its last name."""
    folder = pipeline.folder.name if pipeline.folder else "DIR"
    said = ["morphogen", "evaluate", folder, "--seed", str(seed), "-n", str(count)]
    for flag, value in {**flags, **controls}.items():
        if value is not None:
            shown = str(value) if isinstance(value, (str, int, float)) else str(getattr(value, "name", flag.upper()))
            said += [f"--{flag.replace('_', '-')}", Path(shown).name if flag in _PATHS else shown]
    return shlex.join(said)


def _curves(pipeline: Pipeline) -> list[Curve]:
    """What was followed during training, where the fit kept it."""
    kept = pipeline.metrics.get("training", {}).get("curves", {})
    return [
        Curve(name, [float(at) for at, _ in points], [float(value) for _, value in points])
        for name, points in kept.items()
        if len(points) > 1
    ]


def write(folder: Path, pipeline: Pipeline, evaluation: Evaluation, findings: Findings) -> None:
    record: Mapping[str, Any] = evaluation.model_dump(mode="json")
    sheet = plugins.load("modalities", pipeline.modality, "view").sheet
    write_report(folder / "report.html", evaluation, findings.material, modality_sheet=sheet)
    pipeline.metrics["evaluation"] = record
    write_json(folder / "metrics.json", pipeline.metrics)
    if pipeline.folder is not None and folder.resolve() == pipeline.folder.resolve():
        write_card(folder, pipeline)
