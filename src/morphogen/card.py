"""The model card: what a model folder says of itself to a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .core.codec import Codec
from .core.config import replacing
from .core.modality import modality
from .pipeline import Pipeline

_LISTED = 20  # classes


def write_card(folder: Path, pipeline: Pipeline) -> None:
    """Write `README.md` with the metadata block that the Hub reads."""
    training = {"parameters": 0, "steps": 0, "batch": 0, "seconds": 0.0} | pipeline.metrics.get("training", {})
    space = pipeline.model.space
    conditions = "".join(f"\n- condition `{name}`: {_describe(codec)}" for name, codec in pipeline.conditions.items())
    own = modality(pipeline.modality)
    noun = own.noun.upper()
    needed = "".join(f" --condition {name}={noun}" for name in pipeline.artifact.required_conditions)
    card = f"""---
library_name: morphogen
tags: [{pipeline.family}, {pipeline.modality}, generative]
---

# {folder.resolve().name}

A model of {own.plural} (family `{pipeline.family}`), trained with morphogen on: {pipeline.artifact.source}.

- models {space.plural}, shape `{space.shape}`{conditions}
- {training["parameters"]:,} parameters
- {training["steps"]:,} steps of {training["batch"]} items in {training["seconds"]:,} s
- model hash: `{pipeline.hash[:16]}`
{_stored(pipeline)}
```
morphogen sample {folder.resolve().name} -n 16{needed} --out samples
```

{_evaluation(pipeline)}
"""
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(card, encoding="utf-8", errors="replace")


def _stored(pipeline: Pipeline) -> str:
    """Return a line for each part of the training data that the model's folder holds."""
    parts = [*pipeline.model.stored_data(), *pipeline.codec.stored_data()]
    return "".join(f"- **holds training data**: {one}\n" for one in parts)


def _interval(low: float | None, high: float | None) -> str:
    if low is None:
        return "–"
    return f"from {low:.4g}" if high is None else f"{low:.4g} to {high:.4g}"


def _evaluation(pipeline: Pipeline) -> str:
    """Return the last evaluation of this very model as a table, or a sentence that says there is none."""
    evaluation = pipeline.metrics.get("evaluation")
    if not evaluation or evaluation["model"] != pipeline.hash:
        return (
            "It has not been evaluated. Measure it on held-out data with `morphogen evaluate` before you rely on its "
            "samples."
        )
    lines = [
        "## Evaluation",
        "",
        *(f"- {line}" for line in evaluation["summary"].splitlines()),
        "",
        f"On {evaluation['real']:,} items of {evaluation['data']}; {evaluation['generated']:,} generated, seed "
        f"{evaluation['seed']}. Real data: the value for training items in the place of generated ones. Baseline: the "
        "value for items with correct marginals and no dependence between parts.",
        "",
        "| figure | value | 95 % interval | real data | baseline |",
        "|---|---|---|---|---|",
    ]
    for figure in evaluation["figures"]:
        if figure["group"] == "properties":
            continue
        interval = _interval(figure["low"], figure["high"])
        bounds = ["–" if figure[name] is None else f"{figure[name]:.4g}" for name in ("real_data", "baseline")]
        lines.append(f"| {figure['name']} | {figure['value']:.4g} | {interval} | {bounds[0]} | {bounds[1]} |")
    return "\n".join(lines)


def _describe(codec: Codec[Any]) -> str:
    if not codec.classes:
        return f"an item, shape `{codec.space.shape}`"
    return ", ".join(codec.classes[:_LISTED]) + (" …" if len(codec.classes) > _LISTED else "")
