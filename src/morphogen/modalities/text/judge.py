"""How texts are judged. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from morphogen.core.judge import Advance, Comparison, Judge
from morphogen.core.results import Results

from .statistics.passages import passage_length, passages, thin

if TYPE_CHECKING:
    from torch import Tensor

    from morphogen.core.codec import Codec
    from morphogen.core.extractor import Extractor

Texts = Sequence[str]
_EXCERPT = 60  # characters that two texts do not have in common by chance
_OF_LENGTH = ("length (characters)", "lines", "words")


@final
class TextJudge(Judge[Texts]):
    """Grams of characters and words, sentence embeddings, shuffled characters, variety of words and copied spans."""

    samples: ClassVar[int] = 500
    value_unit: ClassVar[str] = "byte"
    pretrained: ClassVar[Sequence[str]] = ("minilm",)
    cuts: ClassVar[bool] = True
    preview_text: ClassVar[bool] = True

    def fit_extractor(
        self,
        blocks: Iterable[Texts],
        labels: Sequence[str] | None,
        *,
        codec: Codec[Any],
        seed: int,
        advance: Advance | None = None,
    ) -> Extractor[Texts]:
        from .features import fit_extractor

        return fit_extractor(blocks, labels, codec=codec, seed=seed)

    def restore_extractor(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> Extractor[Texts]:
        from .features import restore_extractor

        return restore_extractor(config, tensors)

    def open_pretrained(self, name: str, weights: Path | str | None) -> Extractor[Texts]:
        from .extractors.minilm import open_minilm

        return open_minilm(weights)

    def baseline(self, items: Texts, seed: int) -> list[str]:
        from .features import independent_baseline

        return independent_baseline(items, seed)

    def degraded(self, items: Texts, seed: int) -> list[str]:
        from .features import shuffled_words

        return shuffled_words(items, seed)

    def properties(self, items: Texts, passages: bool) -> dict[str, NDArray[np.float64]]:
        from .features import properties

        values = properties(items)
        return {name: value for name, value in values.items() if not (passages and name in _OF_LENGTH)}

    def show(self, items: Texts, index: int) -> str:
        return items[index]

    def contents(self, items: Texts, codec: Codec[Any]) -> list[bytes]:
        return [item.encode("utf-8", "surrogatepass") for item in items]

    def contained(self, items: Texts, corpus: Texts) -> NDArray[np.bool_]:
        """Return which texts share a span with a text of the corpus that is at least half of them, and 60 characters.

        Raises UserError where the corpus is empty.
        """
        from .statistics.copied_spans import longest_copied, may_share

        hits = may_share(items, corpus, _EXCERPT // 2)
        candidates = [items[index] for index in np.flatnonzero(hits).tolist()]
        lengths = [len(copied.span) for copied in longest_copied(candidates, corpus)]
        hits[hits] = [length >= max(_EXCERPT, len(item) / 2) for length, item in zip(lengths, candidates, strict=True)]
        return hits

    def cut(self, real: Texts, generated: Texts) -> Callable[[Texts], list[str]] | None:
        length = passage_length(real, generated)
        return None if length is None else lambda texts: thin(passages(texts, length))

    def measure(self, comparison: Comparison[Texts], results: Results) -> None:
        from .measure import measure

        measure(comparison, results)


JUDGE = TextJudge()
