"""How readings are judged: by their level and roughness, and by a figure of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.judge import Advance, Comparison, Judge
from morphogen.core.results import Figure, Results

if TYPE_CHECKING:
    from torch import Tensor

    from morphogen.core.codec import Codec
    from morphogen.core.extractor import Extractor

Series = NDArray[np.float64]


class ReadingsJudge(Judge[list[Series]]):
    """Features are the readings themselves; the baseline shuffles each time step over the series."""

    samples = 200

    def fit_extractor(
        self,
        blocks: Iterable[list[Series]],
        labels: Sequence[str] | None,
        *,
        codec: Codec[list[Series]],
        seed: int,
        advance: Advance | None = None,
    ) -> Extractor[list[Series]]:
        from .features import RawReadings

        return RawReadings()

    def restore_extractor(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> Extractor[list[Series]]:
        from .features import RawReadings

        return RawReadings()

    def baseline(self, items: list[Series], seed: int) -> list[Series]:
        return list(np.random.default_rng(seed).permuted(np.stack(items), axis=0))

    def properties(self, items: list[Series], passages: bool) -> dict[str, NDArray[np.float64]]:
        series = np.stack(items)
        return {"level": series.mean(1), "roughness": np.abs(np.diff(series)).mean(1)}

    def measure(self, comparison: Comparison[list[Series]], results: Results) -> None:
        real, generated = (
            float(np.abs(np.diff(np.stack(sample.items))).mean()) for sample in (comparison.real, comparison.generated)
        )
        results.figures.append(
            Figure(
                name="roughness",
                key="roughness",
                group="fidelity",
                value=generated,
                real_data=real,
                better="near",
                real=len(comparison.real),
                generated=len(comparison.generated),
                seed=comparison.seed,
                meaning="Mean change from one time step to the next; there is no interval, for it is but an example.",
            )
        )


JUDGE = ReadingsJudge()
