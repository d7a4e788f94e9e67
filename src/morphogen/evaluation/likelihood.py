"""The likelihood of held-out items, and whether training items are likelier."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from ..core.errors import UserError
from ..core.judge import Comparison, Judge, Sample
from ..core.modality import Modality
from ..core.model import Denoiser, LikelihoodModel
from ..core.results import Figure, Results
from ..likelihood import log_likelihood
from ..metrics.statistics.membership import attack
from ..pipeline import Pipeline
from .privacy import MEMBERSHIP, attack_check, attack_figures
from .samples import take

_MOST, _MOST_SLOW = 500, 64  # items; the second for models that solve an equation for each
_LEAST = 20
# Of each side in a quick evaluation: values, and values times parameters, which take about 5 seconds of one core.
_QUICK_VALUES, _QUICK_OPERATIONS = 40_000, 2e10
BY_LIKELIHOOD = f"{MEMBERSHIP} by likelihood"


def measure_likelihood(
    pipeline: Pipeline, comparison: Comparison[Any], judge: Judge[Any], modality: Modality[Any], results: Results
) -> None:
    """Add bits per value, perplexity, the gap to training items, and membership inference by likelihood."""
    model = pipeline.model
    if not isinstance(model, LikelihoodModel):
        results.skip(f"the family '{pipeline.family}' has none", "likelihood", BY_LIKELIHOOD)
        return
    if comparison.quick and isinstance(model, Denoiser):
        results.skip("it takes minutes; leave out --quick", "likelihood", BY_LIKELIHOOD)
        return
    most = _quick_count(pipeline, comparison) if comparison.quick else _MOST
    most = _MOST_SLOW if isinstance(model, Denoiser) else most
    real = take(comparison.real, range(min(most, len(comparison.real))), modality)
    train = comparison.train
    train = take(train, range(min(most, len(train))), modality) if train else None
    try:
        nats = _nats(pipeline, comparison, real)
        train_nats = _nats(pipeline, comparison, train) if train else None
    except UserError as refusal:
        results.skip(str(refusal), "likelihood", BY_LIKELIHOOD)
        return
    if comparison.quick and (left := min(_MOST, len(comparison.real)) - len(real)) > 0:
        results.skip(f"{len(real):,} were read; leave out --quick", f"likelihood of {left:,} further held-out items")
    kind = "exact" if model.exact else "a bound: the true value is no larger"
    if comparison.passages:
        kind += "; of passages as long as generated items, each by itself"
    space, sizes = model.space, pipeline.codec.num_values(real.items).double()
    train_sizes = pipeline.codec.num_values(train.items).double() if train else None
    figures = []
    if space.step:
        unit = f"bits/{judge.value_unit if pipeline.codec is comparison.codec else 'token'}"
        figures.append(_bits(comparison, unit, nats, sizes, train_nats, train_sizes, kind))
    if space.variable_length:
        # Predicted tokens: those of the item and the end; `start` is given, so as many as are not `end`.
        tokens = (pipeline.codec.encode(real.items) != space.padding).sum(1).double()
        figures.append(_perplexity(comparison, nats, tokens))
    results.figures += figures or [_density(comparison, nats, train_nats, kind)]
    if train_nats is None or train_sizes is None or min(len(nats), len(train_nats)) < _LEAST:
        results.skip(f"needs at least {_LEAST} items of each side", BY_LIKELIHOOD)
    else:
        _membership(comparison, results, train_nats / train_sizes, nats / sizes)


def _quick_count(pipeline: Pipeline, comparison: Comparison[Any]) -> int:
    """Return how many items of each side a quick evaluation reads: fewer of long ones, and under a large model."""
    values = min(_QUICK_VALUES, _QUICK_OPERATIONS / max(1, pipeline.model.parameter_count))
    each = float(pipeline.codec.num_values(comparison.real.items).double().mean())
    return min(_MOST, max(2 * _LEAST, int(values / max(1.0, each))))  # of the control, either half has to be enough


def _bits(
    comparison: Comparison[Any],
    unit: str,
    nats: Tensor,
    sizes: Tensor,
    train_nats: Tensor | None,
    train_sizes: Tensor | None,
    kind: str,
) -> Figure:
    # Over all items together, so that each value counts the same.
    value, error = _ratio(-nats / math.log(2), sizes)
    real_data = None
    if train_nats is not None and train_sizes is not None:
        real_data = _ratio(-train_nats / math.log(2), train_sizes)[0]
    meaning = (
        f"-log₂ of the likelihood of held-out items per {unit.removeprefix('bits/')}, {kind}. Real data: training "
        "items; far below the value is overfitting."
    )
    return _figure(comparison, unit, "bits_per_dimension", value, 1.96 * error, len(nats), real_data, meaning)


def _perplexity(comparison: Comparison[Any], nats: Tensor, tokens: Tensor) -> Figure:
    value, error = _ratio(-nats, tokens)
    meaning = (
        "Effective number of next-token choices; it depends on the tokenizer: compare models by bits per value instead."
    )
    figure = _figure(comparison, "perplexity", "perplexity", math.exp(value), 0.0, len(nats), None, meaning)
    return figure.model_copy(update={"low": math.exp(value - 1.96 * error), "high": math.exp(value + 1.96 * error)})


def _density(comparison: Comparison[Any], nats: Tensor, train_nats: Tensor | None, kind: str) -> Figure:
    value, error = float(-nats.mean()), float(nats.std() / len(nats) ** 0.5)
    real_data = float(-train_nats.mean()) if train_nats is not None else None
    meaning = f"-log of the density of held-out items, {kind}. Densities compare only between models of one space."
    return _figure(comparison, "nats per item", "nats", value, 1.96 * error, len(nats), real_data, meaning)


def _figure(
    comparison: Comparison[Any],
    name: str,
    key: str,
    value: float,
    half: float,
    count: int,
    real_data: float | None,
    meaning: str,
) -> Figure:
    return Figure(
        name=name,
        key=key,
        group="likelihood",
        value=value,
        low=value - half,
        high=value + half,
        real_data=real_data,
        better="lower",
        real=count,
        generated=0,
        seed=comparison.seed,
        meaning=meaning,
    )


def _membership(comparison: Comparison[Any], results: Results, members: Tensor, held_out: Tensor) -> None:
    """Attack by log-likelihoods per value, `(N,)` and `(M,)`."""
    own, half = attack(members, held_out), len(held_out) // 2
    control = attack(held_out[:half], held_out[half:]) if half >= _LEAST else None
    results.figures += attack_figures(comparison, "likelihood", own, control)
    if comparison.distribution_shift:
        results.skip(comparison.distribution_shift, BY_LIKELIHOOD)
        return
    results.checks.append(attack_check(BY_LIKELIHOOD, "likelihood", own, control))


def _nats(pipeline: Pipeline, comparison: Comparison[Any], sample: Sample[Any]) -> Tensor:
    condition: dict[str, Any] = {}
    if comparison.label in pipeline.conditions and sample.labels:
        condition = {comparison.label: sample.labels}
    nats = log_likelihood(pipeline, sample.items, condition=condition, seed=comparison.seed).double()
    if not nats.isfinite().all():
        raise UserError(f"the likelihood of {int((~nats.isfinite()).sum())} items is not finite")
    return nats


def _ratio(parts: Tensor, sizes: Tensor) -> tuple[float, float]:
    """Return the sum of parts over that of sizes, and its standard error over items."""
    value = parts.sum() / sizes.sum()
    spread = (parts - value * sizes).square().sum() * len(parts) / max(1, len(parts) - 1)
    return float(value), float(spread.sqrt() / sizes.sum())
