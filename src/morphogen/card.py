"""The model card: what a model folder says of itself to a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .core.codec import Codec
from .core.condition import LabelCodec
from .core.config import replacing
from .pipeline import Pipeline


def write_card(folder: Path, pipeline: Pipeline) -> None:
    """Write `README.md` with the metadata block that the Hub reads."""
    training = {"parameters": 0, "steps": 0, "batch": 0, "seconds": 0.0} | pipeline.metrics.get("training", {})
    conditions = "".join(f"\n- condition `{name}`: {_told(codec)}" for name, codec in pipeline.conditions.items())
    text = f"""---
library_name: morphogen
tags: [{pipeline.family}, {pipeline.modality}, generative]
---

# {folder.resolve().name}

A `{pipeline.family}` model of modality `{pipeline.modality}`, trained with morphogen on: {pipeline.source}.

- space: `{pipeline.model.space}`{conditions}
- {training["parameters"]:,} parameters
- {training["steps"]:,} steps of {training["batch"]} items in {training["seconds"]:,} s
- model hash: `{pipeline.hash[:16]}`

```
morphogen sample {folder.resolve().name} -n 16 --out samples
```

{_evaluated(pipeline)}
"""
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def _evaluated(pipeline: Pipeline) -> str:
    """What the last evaluation found, as a table; or that there was none, of this very model."""
    found = pipeline.metrics.get("evaluation")
    if not found or found["model"] != pipeline.hash:
        return (
            "It has not been evaluated: look at samples, and do not rely on them before you have measured it on "
            "held-out data,\nwith `morphogen evaluate`."
        )
    lines = [
        "## Evaluation",
        "",
        found["verdict"],
        "",
        f"On {found['real']:,} items of {found['data']}; {found['generated']:,} generated, seed {found['seed']}. The "
        "ceiling is what real items get; the floor, items that are right part by part and in nothing else.",
        "",
        "| figure | value | 95 % interval | ceiling | floor |",
        "|---|---|---|---|---|",
    ]
    for one in found["figures"]:
        if one["group"] == "properties":
            continue
        interval = f"{one['low']:.4g} to {one['high']:.4g}" if one["low"] is not None else "–"
        bounds = ["–" if one[name] is None else f"{one[name]:.4g}" for name in ("ceiling", "floor")]
        lines.append(f"| {one['name']} | {one['value']:.4g} | {interval} | {bounds[0]} | {bounds[1]} |")
    return "\n".join(lines)


def _told(codec: Codec[Any]) -> str:
    if not isinstance(codec, LabelCodec):
        return f"an item at `{codec.space}`"
    return ", ".join(codec.names[:20]) + (" …" if len(codec.names) > 20 else "")
