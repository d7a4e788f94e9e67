"""How pictures are judged. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from morphogen.core.errors import UserError
from morphogen.core.judge import Advance, Comparison, Judge
from morphogen.core.results import Figure, Results

if TYPE_CHECKING:
    from torch import Tensor

    from morphogen.core.codec import Codec
    from morphogen.core.extractor import Extractor

Pictures = Sequence[Image.Image]


@final
class ImageJudge(Judge[Pictures]):
    """A small network trained on the user's pictures, published networks, independent pixels, and MS-SSIM."""

    trained_extractor: ClassVar[bool] = True
    pretrained: ClassVar[Sequence[str]] = ("inception-2015", "dinov2", "clip")

    def fit_extractor(
        self,
        blocks: Iterable[Pictures],
        labels: Sequence[str] | None,
        *,
        codec: Codec[Any],
        seed: int,
        advance: Advance | None = None,
    ) -> Extractor[Pictures]:
        from .features import fit_extractor

        return fit_extractor(blocks, labels, codec=codec, seed=seed, advance=advance)  # type: ignore[arg-type]

    def quick_extractor(
        self,
        blocks: Iterable[Pictures],
        labels: Sequence[str] | None,
        *,
        codec: Codec[Any],
        seed: int,
        advance: Advance | None = None,
    ) -> Extractor[Pictures]:
        from .features import QUICK_STEPS, fit_extractor

        return fit_extractor(
            blocks,
            labels,
            codec=codec,  # type: ignore[arg-type]
            seed=seed,
            steps=QUICK_STEPS,
            advance=advance,
        )

    def restore_extractor(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> Extractor[Pictures]:
        from .features import restore_extractor

        return restore_extractor(config, tensors)

    def open_pretrained(self, name: str, weights: Path | str | None) -> Extractor[Pictures]:
        # Only the one that is named is imported: transformers alone takes seconds.
        if name == "inception-2015":
            from .extractors.inception_2015 import open_inception

            return open_inception(weights)
        from .extractors import transformers_vision

        return {"dinov2": transformers_vision.open_dinov2, "clip": transformers_vision.open_clip}[name](weights)

    def as_seen(self, items: Pictures, codec: Codec[Any]) -> list[Image.Image]:
        from .features import as_seen

        return as_seen(items, codec)  # type: ignore[arg-type]

    def baseline(self, items: Pictures, seed: int) -> list[Image.Image]:
        from .features import independent_baseline

        return independent_baseline(items, seed)

    def degraded(self, items: Pictures, seed: int) -> list[Image.Image]:
        from .features import blurred

        return blurred(items)

    def properties(self, items: Pictures, passages: bool) -> dict[str, NDArray[np.float64]]:
        from .features import properties

        return properties(items)

    def show(self, items: Pictures, index: int) -> Image.Image:
        from .pixels import plain, recast

        image = plain(items[index], "white")
        return recast(image, "L") if image.mode == "I;16" else image

    def measure(self, comparison: Comparison[Pictures], results: Results) -> None:
        """Measure the similarity of pairs of generated pictures."""
        from morphogen.metrics.statistics.ms_ssim import mean_similarity

        from .features import planes

        real, generated, seed = comparison.real, comparison.generated, comparison.seed
        channels = 3 if any(item.mode == "RGB" for sample in (real, generated) for item in sample.items) else 1
        try:
            value, error = mean_similarity(planes(generated.items, channels), seed=seed)
            real_value, _ = mean_similarity(planes(real.items, channels), seed=seed)
        except UserError as refusal:
            results.skip(str(refusal), "MS-SSIM")
            return
        results.figures.append(
            Figure(
                name="MS-SSIM",
                key="ms_ssim",
                group="variety",
                value=value,
                low=value - 1.96 * error,
                high=value + 1.96 * error,
                real_data=real_value,
                better="near",
                real=len(real),
                generated=len(generated),
                seed=seed,
                meaning="Mean structural similarity of two generated pictures; 1 is equal. More than between real "
                "pictures is a lack of variety (Odena et al. 2017).",
            )
        )


JUDGE = ImageJudge()
