"""Missing modes: regions of the data in which hardly any item is generated."""

from __future__ import annotations

from typing import Any

from ..core.judge import Comparison
from ..core.results import Check, Figure, Results
from ..metrics.statistics.intervals import share_interval
from ..metrics.statistics.modes import Modes, compare_modes

_LEAST = 60  # items of each side


def missing_modes(comparison: Comparison[Any], results: Results) -> None:
    """Compare the shares of items in regions of the data."""
    real, generated, train = comparison.real.features, comparison.generated.features, comparison.train_matched
    if min(len(real), len(generated)) < _LEAST:
        sides = f"{len(real)} held out, {len(generated)} generated"
        results.skip(f"needs at least {_LEAST} items of each side; found {sides}", "missing modes")
        return
    modes = compare_modes(real, generated, seed=comparison.seed)
    reference = compare_modes(real, train.features, seed=comparison.seed) if train else None
    results.checks.append(
        Check(
            name="missing modes",
            # Where training items leave out as much, held-out items are of another distribution.
            detected=modes.detected and modes.lost > 2 * (reference.lost if reference else 0.0),
            message=f"Of {len(modes.real)} regions of the data, {len(modes.missing)} contain hardly any generated "
            f"item; {modes.lost:.1%} of real items are in these.",
        )
    )
    results.figures += _figures(comparison, modes, reference)


def _figures(comparison: Comparison[Any], modes: Modes, reference: Modes | None) -> list[Figure]:
    name, count = comparison.extractor.name, len(modes.real)
    low, high = share_interval(round(modes.different * count), count)
    different = Figure(
        name=f"different bins[{name}]",
        key="different_bins",
        group="variety",
        value=modes.different,
        low=low,
        high=high,
        real_data=reference.different if reference else None,
        better="lower",
        extractor=name,
        real=len(comparison.real),
        generated=len(comparison.generated),
        seed=comparison.seed,
        meaning=f"Share of {count} regions (k-means of real items) with a significantly different share of generated "
        "items, at the 5 % level: .05 is chance.",
    )
    divergence = {
        "name": f"divergence of bins[{name}]",
        "key": "bins_divergence",
        "value": modes.divergence,
        "low": None,
        "high": None,
        "real_data": reference.divergence if reference else None,
        "meaning": "Jensen-Shannon divergence of the shares in these regions, in bits, from 0 to 1; no interval: the "
        "value of real data shows what chance does.",
    }
    return [different, different.model_copy(update=divergence)]
