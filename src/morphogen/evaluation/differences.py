"""Where generated items differ from real ones: whether at all, in which regions, classes and plain properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core import plugins
from ..core.errors import UserError
from .chance import CERTAIN, share_interval
from .inception_score import inception_score
from .metrics import discrepancy
from .metrics.manifold import Manifold
from .modes import modes, of_counts
from .report.material import Distribution
from .results import Check, ClassResult, Figure
from .subject import Findings, Subject

_BINS = 24  # of a histogram
_OF_LENGTH = ("length (characters)", "lines", "words")
_LEAST = 60  # items of each side, for regions


def told_apart(subject: Subject, findings: Findings) -> None:
    """Whether the two sides can be told apart at all, and by which plain property most."""
    real, generated = subject.real.features, subject.generated.features
    properties = _properties(subject, findings)
    try:
        p = discrepancy.p_value(real, generated, seed=subject.seed)
    except UserError as error:
        findings.lacks("p of MMD²", str(error))
        return
    findings.figures.append(
        Figure(
            name=f"p of MMD²[{subject.extractor.name}]",
            key="discrepancy_p",
            group="likeness",
            value=p,
            ceiling=None,
            better="higher",
            extractor=subject.extractor.name,
            real=len(real),
            generated=len(generated),
            seed=subject.seed,
            meaning="The probability of so large a discrepancy, were generated items real ones, by 1,999 exchanges of "
            "items; a probability has no interval.",
        )
    )
    likely = [one for one in properties if one[1] < CERTAIN / max(1, len(properties))]
    found = p < CERTAIN or bool(likely)
    says = f"Generated items {'can' if found else 'cannot'} be told from real ones ({discrepancy.in_words(p)})"
    if likely:
        name, own, _, means = min(likely, key=lambda one: (one[1], -one[2]))
        says = (
            f"Generated items can be told from real ones ({discrepancy.in_words(min(p, own))}); most by their {name}, "
        )
        says += f"on average {means[1]:.3g} and {means[0]:.3g} in real ones"
    if found and subject.shifted:
        says += "; so can training items from held-out ones"
    findings.checks.append(Check(name="told from real items", found=found, fault=False, says=f"{says}."))


Property = tuple[str, float, float, tuple[float, float]]  # name, p, Kolmogorov-Smirnov distance, means


def _properties(subject: Subject, findings: Findings) -> list[Property]:
    """The plain properties of items, where the modality has some, each compared."""
    from scipy.stats import ks_2samp

    measured = getattr(plugins.load("modalities", subject.pipeline.modality, "features"), "measured", None)
    if measured is None:
        return []
    sides = [measured(one.items) for one in (subject.real, subject.generated)]
    ceiling = measured(subject.as_many.items) if subject.as_many else {}
    found: list[Property] = []
    for name in sides[0]:
        # Passages that real texts were cut into are of one length, which generated texts need not be.
        if name not in sides[1] or (subject.cut and name in _OF_LENGTH):
            continue
        real, generated = sides[0][name], sides[1][name]
        tested = ks_2samp(real, generated)
        distance = float(tested.statistic)
        found.append((name, float(tested.pvalue), distance, (float(real.mean()), float(generated.mean()))))
        error = (0.25 / len(real) + 0.25 / len(generated)) ** 0.5  # of a share near one half, the widest
        findings.figures.append(
            Figure(
                name=name,
                key=f"property_{name.replace(' ', '_')}",
                group="properties",
                value=distance,
                low=max(0.0, distance - 1.96 * error),
                high=min(1.0, distance + 1.96 * error),
                ceiling=float(ks_2samp(real, ceiling[name]).statistic) if name in ceiling else None,
                floor=None,
                better="lower",
                real=len(real),
                generated=len(generated),
                seed=subject.seed,
                meaning=f"Largest gap between the two cumulative distributions (Kolmogorov-Smirnov). On average "
                f"{generated.mean():.3g} in generated items and {real.mean():.3g} in real ones.",
            )
        )
        findings.material.distributions.append(histogram(name, real, generated))
    return found


def histogram(name: str, real: NDArray[Any], generated: NDArray[Any]) -> Distribution:
    """Both in the same bins, from the smallest to the largest value but for the outermost thousandths."""
    both = np.concatenate([real, generated]).astype(np.float64)
    low, high = np.quantile(both, [0.001, 0.999])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    shares = [np.histogram(np.clip(x, low, high), edges)[0] / max(1, len(x)) for x in (real, generated)]
    return Distribution(name, [f"{one:.3g}" for one in edges[:-1]], shares[0], shares[1])


def regions(subject: Subject, findings: Findings) -> None:
    """Regions of the data that generated items leave out."""
    generated = subject.generated.features
    real = subject.real.features
    if min(len(real), len(generated)) < _LEAST:
        findings.lacks("regions left out", f"needs at least {_LEAST} items of each side")
        return
    found = modes(real, generated, seed=subject.seed)
    ceiling = modes(real, subject.as_many.features, seed=subject.seed) if subject.as_many else None
    findings.checks.append(
        Check(
            name="regions left out",
            # Where training items leave out as much, held-out ones are of another kind.
            found=found.found and found.lost > 2 * (ceiling.lost if ceiling else 0.0),
            says=f"Of {len(found.real)} regions of the data {len(found.starved)} hardly occur among generated items; "
            f"{found.lost:.1%} of real items lie there.",
        )
    )
    common = {"group": "variety", "better": "lower", "extractor": subject.extractor.name, "real": len(real)}
    common |= {"generated": len(generated), "seed": subject.seed}
    low, high = share_interval(round(found.different * len(found.real)), len(found.real))
    findings.figures += [
        Figure(
            name=f"different bins[{subject.extractor.name}]",
            key="different_bins",
            value=found.different,
            low=low,
            high=high,
            ceiling=ceiling.different if ceiling else None,
            meaning=f"Share of {len(found.real)} regions (k-means of real items) that hold another share of generated "
            "items, at 5 %: .05 of them do by chance.",
            **common,
        ),
        Figure(
            name=f"divergence of bins[{subject.extractor.name}]",
            key="bins_divergence",
            value=found.divergence,
            ceiling=ceiling.divergence if ceiling else None,
            meaning="Jensen-Shannon divergence of the shares in these regions, in bits, from 0 to 1; no interval, its "
            "ceiling tells what chance does.",
            **common,
        ),
    ]


def classes(subject: Subject, findings: Findings) -> None:
    """Classes: whether all occur, whether items are of the class asked for, how each fares."""
    real, generated, extractor = subject.real, subject.generated, subject.extractor
    if not extractor.classes:
        findings.lacks("Inception Score", "there are no labels that a classifier could learn")
        if real.labels is None:
            findings.lacks("results per class", "the data has no labels")
            return
    said: dict[str, list[str]] = {}
    if extractor.classes:
        probabilities = {name: extractor.probabilities(one.items) for name, one in _both(subject).items()}
        said = {name: [extractor.classes[at] for at in p.argmax(1).tolist()] for name, p in probabilities.items()}
        _score(subject, findings, probabilities)
    own = {one for one in real.labels or (subject.train.labels if subject.train else None) or () if one}
    if extractor.classes and not (extractor.of_data and own and own <= set(extractor.classes)):
        findings.lacks("results per class", f"the classes of {extractor.name} are not those of the data")
        return
    asked = generated.labels
    generated_labels = said.get("generated") or asked
    if generated_labels is None:
        findings.lacks("results per class", "generated items have no labels, and nothing names their classes")
        return
    # Like with like: what a classifier says of both, or what both are called.
    shares = {"real": said.get("real") or real.labels or [], "generated": generated_labels}
    names = sorted({one for side in shares.values() for one in side if one})
    counts = [np.array([side.count(name) for name in names]) for side in (shares["real"], shares["generated"])]
    if asked is None or said:
        found = of_counts(counts[0], counts[1])
        gone = [names[at] for at in found.starved]
        findings.checks.append(
            Check(
                name="classes left out",
                found=bool(gone),
                says=f"Of {len(names)} classes {len(gone)} hardly occur among generated items"
                + (f": {', '.join(gone[:5])}." if gone else "."),
            )
        )
    right: dict[str, float] = {}
    if asked is not None and said:
        hits = np.array([one == other for one, other in zip(asked, said["generated"], strict=True)])
        right = {name: float(hits[[one == name for one in asked]].mean()) for name in names if name in asked}
        ceiling = None
        if real.labels:
            pairs = zip(real.labels, said["real"], strict=True)
            ceiling = float(np.mean([one == other for one, other in pairs if one]))
        low, high = share_interval(int(hits.sum()), len(hits))
        findings.figures.append(
            Figure(
                name=f"class accuracy[{extractor.name}]",
                key="class_accuracy",
                group="usefulness",
                value=float(hits.mean()),
                low=low,
                high=high,
                ceiling=ceiling,
                floor=1 / len(names),
                better="higher",
                extractor=extractor.name,
                real=len(real),
                generated=len(generated),
                seed=subject.seed,
                meaning="Share of items that a classifier, trained on real ones, takes for the class asked for.",
            )
        )
    covered = _covered(subject, shares, names)
    findings.classes = [
        ClassResult(
            name=name,
            real_share=float(counts[0][at] / max(1, counts[0].sum())),
            generated_share=float(counts[1][at] / max(1, counts[1].sum())),
            accuracy=right.get(name),
            coverage=covered.get(name),
        )
        for at, name in enumerate(names)
    ]


def _both(subject: Subject) -> dict[str, Any]:
    return {"real": subject.real, "generated": subject.generated}


def _score(subject: Subject, findings: Findings, probabilities: dict[str, torch.Tensor]) -> None:
    name = "IS" if subject.extractor.name == "inception-2015" else f"IS[{subject.extractor.name}]"
    # It grows with the number of items a split.
    count = min(map(len, probabilities.values()))
    splits = max(2, min(10, count // 50))
    try:
        value, error = inception_score(probabilities["generated"][:count], splits=splits, seed=subject.seed)
        ceiling, _ = inception_score(probabilities["real"][:count], splits=splits, seed=subject.seed)
    except UserError as refused:
        findings.lacks("Inception Score", str(refused))
        return
    findings.figures.append(
        Figure(
            name=name,
            key="inception_score",
            group="likeness",
            value=value,
            low=value - 1.96 * error,
            high=value + 1.96 * error,
            ceiling=ceiling,
            floor=1.0,
            better="higher",
            extractor=subject.extractor.name,
            real=count,
            generated=count,
            seed=subject.seed,
            meaning="Whether a classifier is sure of each item and sees all of "
            f"{len(subject.extractor.classes)} classes; it knows nothing of variety within a class.",
        )
    )


def _covered(subject: Subject, shares: dict[str, list[str]], names: list[str]) -> dict[str, float]:
    """The coverage of each class, of items that are, or are taken for, of it."""
    found = {}
    for name in names:
        sides = [
            one.features[[at for at, label in enumerate(shares[side]) if label == name]]
            for side, one in _both(subject).items()
        ]
        metric = Manifold()
        try:
            metric.update(sides[0], real=True)
            metric.update(sides[1], real=False)
            found[name] = metric.compute()["coverage"]
        except UserError:  # too few of the class
            continue
    return found
