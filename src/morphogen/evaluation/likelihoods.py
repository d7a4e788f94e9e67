"""How likely the model finds held-out items, and whether it finds training items likelier."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from ..core.codec import RowCodec
from ..core.errors import UserError
from ..core.model import Denoiser, LikelihoodModel
from ..core.space import Tokens
from ..through import LatentCodec
from .disclosure import attack_figures
from .membership import attack
from .results import Check, Figure
from .subject import Findings, Sample, Subject

_MOST, _MOST_SLOW = 500, 64  # items; of a model that has to solve an equation for each
_LEAST = 20


def likelihood(subject: Subject, findings: Findings) -> None:
    """Bits per dimension, perplexity, the gap to training items, and membership by likelihood."""
    pipeline = subject.pipeline
    if not isinstance(pipeline.model, LikelihoodModel):
        findings.lacks("likelihood", f"the family '{pipeline.family}' has none")
        return
    most = _MOST_SLOW if isinstance(pipeline.model, Denoiser) else _MOST
    real = subject.real.take(range(min(most, len(subject.real))))
    train = subject.train.take(range(min(most, len(subject.train)))) if subject.train else None
    try:
        nats = _nats(subject, real)
        own = _nats(subject, train) if train else None
    except UserError as refused:
        findings.lacks("likelihood", str(refused))
        return
    kind = "exact" if pipeline.model.exact else "a bound: the true value is no larger"
    if subject.cut:
        kind += ", of passages as long as generated texts, each by itself"
    common = {"group": "likelihood", "better": "lower", "real": len(real), "generated": 0, "seed": subject.seed}
    space = pipeline.model.space
    sizes = pipeline.codec.sizes(real.items).double()
    if isinstance(space, Tokens) or space.step:
        # Over all items together, so that long ones count as long.
        unit = "bits/byte" if pipeline.modality == "text" else "bits/dim"
        if isinstance(pipeline.codec, (RowCodec, LatentCodec)):
            unit = "bits/symbol"
        value, error = _ratio(-nats / math.log(2), sizes)
        own_value = None
        if own is not None and train is not None:
            own_value = _ratio(-own / math.log(2), pipeline.codec.sizes(train.items).double())[0]
        findings.figures.append(
            Figure(
                name=unit,
                key="bits_per_dimension",
                value=value,
                low=value - 1.96 * error,
                high=value + 1.96 * error,
                ceiling=own_value,
                meaning=f"−log₂ of the likelihood of held-out items over their size, {kind}. The ceiling is what "
                "training items get: far below means learning by heart.",
                **common,
            )
        )
    if isinstance(space, Tokens) and space.end is not None:
        symbols = (pipeline.codec.encode(real.items) != space.end).sum(1).double() + (space.start is None)
        value, error = _ratio(-nats, symbols)
        findings.figures.append(
            Figure(
                name="perplexity",
                key="perplexity",
                value=math.exp(value),
                low=math.exp(value - 1.96 * error),
                high=math.exp(value + 1.96 * error),
                meaning="Among how many symbols the model is undecided, in effect; it hangs on the alphabet, bits per "
                "byte do not.",
                **common,
            )
        )
    if not any(one.group == "likelihood" for one in findings.figures):
        value, error = float(-nats.mean()), float(nats.std() / len(nats) ** 0.5)
        findings.figures.append(
            Figure(
                name="nats per item",
                key="nats",
                value=value,
                low=value - 1.96 * error,
                high=value + 1.96 * error,
                ceiling=float(-own.mean()) if own is not None else None,
                meaning=f"−log of the density of held-out items, {kind}. Densities compare only in one space.",
                **common,
            )
        )
    _membership(subject, findings, real, nats, train, own)


def _membership(
    subject: Subject, findings: Findings, real: Sample, nats: Tensor, train: Sample | None, own: Tensor | None
) -> None:
    if own is None or train is None or min(len(nats), len(own)) < _LEAST:
        findings.lacks("membership by likelihood", f"needs at least {_LEAST} items of each side")
        return
    sizes = [subject.pipeline.codec.sizes(one.items).double() for one in (train, real)]
    members, others = own / sizes[0], nats / sizes[1]
    found, half = attack(members, others), len(others) // 2
    beside = attack(others[:half], others[half:]) if half >= _LEAST else None
    findings.figures += attack_figures(subject, "likelihood", found, beside)
    name = "training items likelier than others"
    if subject.shifted:
        findings.lacks(name, subject.shifted)
        return
    findings.checks.append(
        Check(
            name=name,
            found=found.interval[0] > 0.55,
            says=f"By their likelihood, who was in the training data is guessed with an area of {found.area:.3f} under "
            "the curve (a coin: .5).",
        )
    )


def _nats(subject: Subject, sample: Sample) -> Tensor:
    condition: dict[str, Any] = {}
    if subject.label in subject.pipeline.conditions and sample.labels:
        condition = {subject.label: sample.labels}
    nats = subject.pipeline.log_likelihood(sample.items, condition=condition, seed=subject.seed).double()
    if not nats.isfinite().all():
        raise UserError(f"the likelihood of {int((~nats.isfinite()).sum())} items is not finite")
    return nats


def _ratio(parts: Tensor, sizes: Tensor) -> tuple[float, float]:
    """The sum of parts over that of sizes, and its standard error over items."""
    value = parts.sum() / sizes.sum()
    spread = (parts - value * sizes).square().sum() * len(parts) / max(1, len(parts) - 1)
    return float(value), float(spread.sqrt() / sizes.sum())
