"""Controls of classifier-free guidance that the families of noisy grids share; imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..core.config import Frozen

NoiseLevel = Annotated[float, Field(allow_inf_nan=True)]  # an interval of noise levels may have no end


class IntervalGuidance(Frozen):
    """Guidance at some noise levels (arXiv 2404.07724)."""

    guidance: float = Field(1.6, ge=0, description="Classifier-free guidance scale under a condition; 1: no guidance.")
    guidance_interval: tuple[NoiseLevel, NoiseLevel] = Field(
        (0.1, 5.0),
        description="Noise levels that are guided, in standard deviations of the data; 0 and inf: all.",
    )

    def void_interval(self, void: dict[str, str]) -> dict[str, str]:
        """Return the controls that are not read, each with the reason, given those of the model."""
        if "guidance" in void:
            return {"guidance_interval": void["guidance"]}
        return {"guidance_interval": "guidance 1"} if self.guidance == 1 else {}
