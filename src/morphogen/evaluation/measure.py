"""All measurements of an evaluation, one after the other."""

from __future__ import annotations

from typing import Any

from ..core.errors import UserError
from ..core.judge import Comparison
from ..core.results import Check, Results
from . import copying, privacy
from .fidelity import DRAWS, DRAWS_QUICK, compare_features, is_constant
from .likelihood import measure_likelihood
from .modes import missing_modes
from .per_class import compare_classes
from .plan import LEAST, Plan
from .progress import Say
from .relative import relative_distance
from .two_sample import distribution_shift, two_sample_test
from .utility import utility_by_label


def measure(plan: Plan, comparison: Comparison[Any], results: Results, say: Say) -> None:
    """Add every figure and check, or the reason why it is missing. Raises UserError with fewer than two items."""
    if len(comparison.real) < LEAST:
        raise UserError(f"there are {len(comparison.real)} items to judge by; expected at least {LEAST}")
    if not _features_differ(comparison, results):
        results.skip("distances mean nothing", copying.COPIES, copying.MEMORISATION, privacy.MEMBERSHIP)
    else:
        say("distances and classifiers")
        comparison.distribution_shift = distribution_shift(comparison)
        _compare_features(comparison, results)
        relative_distance(comparison, plan.judge, plan.modality, results)
        two_sample_test(comparison, plan.judge, results)
        missing_modes(comparison, results)
        say("copies and membership")
        _copying_and_privacy(plan, comparison, results)
    compare_classes(comparison, results)
    say("likelihood")
    measure_likelihood(plan.pipeline, comparison, plan.judge, plan.modality, results)
    say(f"properties of {plan.modality.plural}")
    if plan.judge.utility_by_label:
        utility_by_label(comparison, plan.judge, plan.modality, results)
    plan.judge.measure(comparison, results)


def _features_differ(comparison: Comparison[Any], results: Results) -> bool:
    """Return whether there are distances between items; record it where there are none."""
    if is_constant(comparison.real.features):
        results.skip("the features of all real items are equal, so distances mean nothing", "comparisons of features")
        return False
    if not is_constant(comparison.generated.features):
        return True
    reason = "the features of all generated items are equal, so distances mean nothing"
    results.skip(reason, "comparisons of features")
    message = f"All {len(comparison.generated):,} generated items are equal to {comparison.extractor.name}."
    results.checks.append(Check(name="repeated items", detected=True, message=message))
    return False


def _compare_features(comparison: Comparison[Any], results: Results) -> None:
    real, generated, matched = comparison.real, comparison.generated, comparison.train_matched
    features = {"real": real.features, "generated": generated.features}
    if matched and len(matched) == len(generated):
        features["real_data"] = matched.features
    elif matched:
        reason = (
            f"needs as many training items as generated ones, and {len(matched):,} are unseen: give -n {len(matched)}"
        )
        results.skip(reason, "distances of real data")
    if comparison.baseline:
        features["baseline"] = comparison.baseline.features
    draws = DRAWS_QUICK if comparison.quick else DRAWS
    figures, missing = compare_features(features, comparison.extractor.name, seed=comparison.seed, draws=draws)
    results.figures += figures
    results.not_measured += missing
    dimensions = real.features.shape[1]
    if len(real) < 10 * dimensions:
        results.skip(
            f"{len(real):,} held-out items are fewer than ten times the {dimensions} dimensions: compare the Fréchet "
            "distance with its value for real data only",
            "Fréchet distance across sample sizes",
        )


def _copying_and_privacy(plan: Plan, comparison: Comparison[Any], results: Results) -> None:
    distances = (copying.MEMORISATION, "C_T", "authenticity", privacy.MEMBERSHIP)
    count = min(len(comparison.real), len(comparison.generated))
    if count < copying.LEAST:
        sides = f"{len(comparison.real)} held out, {len(comparison.generated)} generated"
        reason = f"needs at least {copying.LEAST} items of each side; found {sides}"
        results.skip(reason, "copies", "repeated items", *distances)
        return
    copying.repeated_items(comparison, results)
    if comparison.train is None or len(comparison.train) < LEAST:
        reason = "needs at least 2 training items; found 1" if comparison.train else copying.NO_TRAINING_ITEMS
        results.skip(reason, copying.COPIES, copying.HELD_OUT_COPIES, *distances)
        return
    copying.copied_training_items(comparison, plan.judge, plan.modality, results)
    if any(not codec.classes for codec in plan.pipeline.conditions.values()):
        reason = "generated items are conditioned on held-out items, and have to resemble them"
        results.skip(reason, copying.HELD_OUT_COPIES, *distances)
        return
    copying.copied_held_out_items(comparison, plan.judge, results)
    copying.memorisation(comparison, results)
    privacy.membership_by_distance(comparison, results)
