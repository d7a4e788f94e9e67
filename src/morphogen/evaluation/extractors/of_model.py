"""A model's own embeddings as features: what it has learned to tell apart, and nothing that it has not."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...core.extractor import Extractor
from ...pipeline import Pipeline


class OfModel(Extractor[Any]):
    """Latents of an autoencoder, or means of what a network of texts is at.

    A model judged by its own eyes looks better than it is; to compare two, take one of them for both.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.modality = pipeline, pipeline.modality
        self.name = f"model-{pipeline.hash[:8]}"

    def features(self, items: Any) -> Tensor:
        return self.pipeline.embeddings(items)
