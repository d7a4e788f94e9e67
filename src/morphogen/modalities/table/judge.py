"""How rows are judged. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from morphogen.core.judge import Advance, Comparison, Judge, Sample
from morphogen.core.results import Results

if TYPE_CHECKING:
    from torch import Tensor

    from morphogen.core.codec import Codec
    from morphogen.core.extractor import Extractor


@final
class TableJudge(Judge[Any]):
    """Encoded columns, permuted columns, Shape and Trend, pairs of columns, and utility by column."""

    samples: ClassVar[int] = 10_000
    max_train: ClassVar[int] = 200_000
    value_unit: ClassVar[str] = "cell"
    grouped_split: ClassVar[bool] = True
    preview_text: ClassVar[bool] = True
    utility_by_label: ClassVar[bool] = False

    def fit_extractor(
        self,
        blocks: Iterable[Any],
        labels: Sequence[str] | None,
        *,
        codec: Codec[Any],
        seed: int,
        advance: Advance | None = None,
    ) -> Extractor[Any]:
        from .features import fit_extractor

        return fit_extractor(blocks, labels, codec=codec, seed=seed)  # type: ignore[arg-type]

    def restore_extractor(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> Extractor[Any]:
        from .features import restore_extractor

        return restore_extractor(config, tensors)

    def as_seen(self, items: Any, codec: Codec[Any]) -> Any:
        return codec.align(items)

    def contents(self, items: Any, codec: Codec[Any]) -> list[bytes]:
        """Return the values of the modelled columns: in small tables many rows share all cells."""
        from .cells import members, row_contents

        columns: Mapping[str, Any] = codec.columns  # type: ignore[attr-defined]
        names = list(dict.fromkeys(name for field in columns for name in members(field)))  # dates have several fields
        return row_contents(codec.align(items).select(names))

    def baseline(self, items: Any, seed: int) -> Any:
        from .features import independent_baseline

        return independent_baseline(items, seed)

    def classifier_inputs(
        self, comparison: Comparison[Any], other: Sample[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        from .comparable import pair_of
        from .statistics.arrow_columns import matrices_of

        (real, made), categories = matrices_of(*pair_of(comparison, other.items))
        return real, made, categories

    def show(self, items: Any, index: int) -> dict[str, Any]:
        row: dict[str, Any] = items.slice(index, 1).to_pylist()[0]
        return row

    def targets(self, items: Any) -> list[str]:
        names: list[str] = items.column_names
        return names

    def measure(self, comparison: Comparison[Any], results: Results) -> None:
        from .measure import measure

        measure(comparison, results)


JUDGE = TableJudge()
