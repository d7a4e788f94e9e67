"""What a report shows beside figures."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from ...core.results import CopiedSpan, Distribution, Pair, Profile


@dataclass(frozen=True)
class Curve:
    """A figure that was recorded during training: the steps, and the values."""

    name: str
    steps: list[float]
    values: list[float]


@dataclass
class Material:
    """Previews of generated items, and material on single items and properties.

    `plural` names the items; with `preview_text` previews show text, which must not be scaled down. `generated` are the
    first ones, `convincing` and `unconvincing` those that the classifier takes for real, and those that it recognises.
    Real items are `real`, `pairs` and `copied_spans`: they are shown with `show_real` only.
    """

    plural: str = "items"
    preview_text: bool = False
    show_real: bool = False
    generated: Image.Image | None = None
    convincing: Image.Image | None = None
    unconvincing: Image.Image | None = None
    real: Image.Image | None = None
    pairs: list[Pair] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    copied_spans: list[CopiedSpan] = field(default_factory=list)
