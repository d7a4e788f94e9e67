"""What is measured of pictures alone."""

from __future__ import annotations

from ..core.errors import UserError
from .ms_ssim import similarity
from .results import Figure
from .subject import Findings, Subject


def measure(subject: Subject, findings: Findings) -> None:
    """How alike two generated pictures are."""
    try:
        value, error = similarity(subject.generated.items, seed=subject.seed)
        ceiling, _ = similarity(subject.real.items, seed=subject.seed)
    except UserError as refused:
        findings.lacks("MS-SSIM", str(refused))
        return
    findings.figures.append(
        Figure(
            name="MS-SSIM",
            key="ms_ssim",
            group="variety",
            value=value,
            low=value - 1.96 * error,
            high=value + 1.96 * error,
            ceiling=ceiling,
            better="near",
            real=len(subject.real),
            generated=len(subject.generated),
            seed=subject.seed,
            meaning="How alike two generated pictures are on average, 1 is equal; more than of real ones is a lack of "
            "variety (Odena et al. 2017).",
        )
    )
