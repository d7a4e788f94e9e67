"""What a report shows beside figures."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from ...core.results import CopiedSpan, Distribution, Pair


@dataclass(frozen=True)
class Curve:
    """A figure that was recorded during training: the steps, and the values."""

    name: str
    steps: list[float]
    values: list[float]


@dataclass
class Material:
    """Previews of the first generated and of held-out items, and material on single items and properties.

    `plural` names the items; with `preview_text` previews show text, which must not be scaled down.
    """

    plural: str = "items"
    preview_text: bool = False
    generated: Image.Image | None = None
    real: Image.Image | None = None
    pairs: list[Pair] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    copied_spans: list[CopiedSpan] = field(default_factory=list)
