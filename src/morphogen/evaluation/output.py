"""What an evaluation writes: the report, metrics.json and the model card's table."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..card import write_card
from ..core.config import write_json
from ..core.judge import Comparison
from ..core.results import Results
from ..pipeline import Pipeline
from .plan import Plan
from .report.material import Curve, Material
from .report.page import write_report
from .results import Evaluation

_PATHS = ("data", "source", "extractor", "extractor_weights")
_SHOWN, _TYPICAL = 36, 36  # items of a preview


def write(
    folder: Path,
    plan: Plan,
    evaluation: Evaluation,
    results: Results,
    comparison: Comparison[Any],
    batches: list[Any],
    *,
    show_real: bool,
) -> None:
    """Write `report.html` and `metrics.json`; where `folder` is the model's, its card, too.

    The report holds real items with `show_real` only.
    """
    modality, pipeline = plan.modality, plan.pipeline
    generated, real = modality.concatenate(batches), comparison.real.items

    def preview(items: Any, indices: Sequence[int]) -> Image.Image | None:
        return modality.preview(modality.take(items, list(indices))) if indices else None

    typical, count = results.typical, min(_TYPICAL, len(results.typical) // 2)
    material = Material(
        plural=modality.plural,
        preview_text=plan.judge.preview_text,
        show_real=show_real,
        generated=preview(generated, range(min(_SHOWN, len(generated)))),
        convincing=preview(comparison.generated.items, typical[:count]),
        unconvincing=preview(comparison.generated.items, typical[::-1][:count]),
        real=preview(real, range(min(_SHOWN, len(real)))) if show_real else None,
        pairs=results.pairs if show_real else [],
        distributions=results.distributions,
        profiles=results.profiles,
        curves=_curves(pipeline),
        copied_spans=results.copied_spans if show_real else [],
    )
    write_report(folder / "report.html", evaluation, material)
    record: Mapping[str, Any] = evaluation.model_dump(mode="json")
    pipeline.metrics["evaluation"] = record
    write_json(folder / "metrics.json", pipeline.metrics)
    if pipeline.folder is not None and folder.resolve() == pipeline.folder.resolve():
        write_card(folder, pipeline)


def changed_controls(pipeline: Pipeline, controls: Mapping[str, Any]) -> dict[str, Any]:
    """Return the controls that are not at their defaults."""
    defaults = pipeline.artifact.controls({})
    return {name: value for name, value in controls.items() if value != getattr(defaults, name, None)}


def repeat_command(
    pipeline: Pipeline, seed: int, count: int, flags: Mapping[str, Any], controls: Mapping[str, Any]
) -> str:
    """Return the command line that repeats the evaluation; paths are cut to their last part."""
    folder = pipeline.folder.name if pipeline.folder else "DIR"
    words = ["morphogen", "evaluate", folder, "--seed", str(seed), "-n", str(count)]
    for name, value in flags.items():
        if value is not None:
            text = str(value) if isinstance(value, str | int | Path) else name.upper()  # such as items in memory
            words += [_flag(name), Path(text).name if name in _PATHS else text]
    for name, value in controls.items():
        if isinstance(value, Mapping):
            words += [_flag(name), *(str(part) for pair in value.items() for part in pair)]
        elif isinstance(value, list | tuple):
            words += [_flag(name), *map(str, value)]
        elif value is not None:
            words += [_flag(name), str(getattr(value, "name", value))]
    return shlex.join(words)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _curves(pipeline: Pipeline) -> list[Curve]:
    """Return the curves that the fit recorded."""
    recorded = pipeline.metrics.get("training", {}).get("curves", {})
    return [
        Curve(name, [float(step) for step, _ in points], [float(value) for _, value in points])
        for name, points in recorded.items()
        if len(points) > 1
    ]
