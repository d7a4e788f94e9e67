"""What a model gives away of its training data: copies, and who was in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..core.codec import RowCodec
from ..core.condition import LabelCodec
from .chance import share_interval
from .copies import Copies, copies, repeats
from .likeness import in_order
from .membership import Attack, by_distance, control
from .memorisation import authentic, copying
from .report.material import Pair
from .results import Check, Figure
from .subject import Findings, Subject, one_of

_LEAST = 20  # items of each side
_SHOWN = 12  # pairs
_USUAL = 10_000  # training items that tell how many are copies of held-out ones by chance
_APART = 3 * 2**0.5  # standard errors of a difference


def copying_and_privacy(subject: Subject, findings: Findings) -> None:
    """Copies of training items, of held-out ones and of each other; distances to the training items; membership."""
    real, generated = subject.real.features, subject.generated.features
    if min(len(real), len(generated)) < _LEAST:
        for name in ("copies", "repeats", "C_T", "authenticity", "membership"):
            findings.lacks(name, f"needs at least {_LEAST} items of each side; found {len(real)} held out")
        return
    again = repeats(generated, torch.cat([real, subject.train.features]) if subject.train else real)
    findings.checks.append(
        Check(
            name="repeats",
            found=again.found,
            says=f"{_counted(again)} generated items are copies of another one; {again.usually}.",
        )
    )
    findings.figures.append(_share(subject, "repeats", again, "Generated items that are copies of another one."))
    if subject.train is None:
        why = "the training items are not to be had"
        for name in ("copies of training items", "C_T", "authenticity", "membership by distance"):
            findings.lacks(name, why)
        return
    train = subject.train.features
    rows = isinstance(subject.codec, RowCodec)  # those that are alike are all trained on, or all held out
    copied = copies(generated, train, None if rows else real)
    findings.checks.append(
        Check(
            name="copies of training items",
            found=copied.found,
            says=f"{_counted(copied)} generated items are copies of a training item; {copied.usually}.",
        )
    )
    findings.figures.append(_share(subject, "copies", copied, "Generated items that are copies of a training item."))
    findings.material.pairs = [
        Pair(
            one_of(subject.generated.items, at),
            one_of(subject.train.items, int(copied.indices[at])),
            float(copied.ratios[at]),
        )
        for at in copied.closest(_SHOWN)
    ]
    if any(not isinstance(codec, LabelCodec) for codec in subject.pipeline.conditions.values()):
        why = "generated items were asked to be like held-out ones, by their smaller version"
        for name in ("held-out items given back", "C_T", "authenticity", "membership by distance"):
            findings.lacks(name, why)
        return
    leaked = copies(generated, real, subject.fresh.features[:_USUAL] if subject.fresh and not rows else None)
    findings.checks.append(
        Check(
            name="held-out items given back",
            found=leaked.found,
            says=f"{_counted(leaked)} generated items are copies of a held-out item, which the model should never have "
            f"seen; {leaked.usually}.",
        )
    )
    _distances(subject, findings)
    _membership(subject, findings)


def _share(subject: Subject, key: str, found: Copies, meaning: str) -> Figure:
    low, high = found.interval
    return Figure(
        name=f"{key}[{subject.extractor.name}]",
        key=key,
        group="copying",
        value=found.share,
        low=low,
        high=high,
        ceiling=found.natural,
        better="lower",
        extractor=subject.extractor.name,
        real=len(subject.real),
        generated=found.count,
        seed=subject.seed,
        meaning=f"{meaning} A copy lies twice as near to one item as the nearest of real ones do.",
    )


def _distances(subject: Subject, findings: Findings) -> None:
    assert subject.train is not None
    real, generated, train = subject.real.features, subject.generated.features, subject.train.features
    common = {"extractor": subject.extractor.name, "real": len(real), "generated": len(generated)}
    own, others = authentic(generated, train), authentic(real, train)
    low, high = share_interval(int(own.sum()), len(own))
    findings.figures.append(
        Figure(
            name=f"authenticity[{subject.extractor.name}]",
            key="authenticity",
            group="copying",
            value=float(own.double().mean()),
            low=low,
            high=high,
            ceiling=float(others.double().mean()),
            better="near",
            seed=subject.seed,
            meaning="Share of generated items further from the nearest training item than that one is from the next. "
            "Much less than new real items get means that items hug training items.",
            **common,
        )
    )
    z = copying(generated, real, train, seed=subject.seed)
    if math.isnan(z):
        findings.lacks("C_T", "no region of the data holds 20 held-out and 20 generated items")
        return
    findings.figures.append(
        Figure(
            name=f"C_T[{subject.extractor.name}]",
            key="copying",
            group="copying",
            value=z,
            low=z - 1.96,
            high=z + 1.96,
            ceiling=0.0,
            better="near",
            seed=subject.seed,
            meaning="Standard errors by which generated items lie nearer (below 0) or further (above) from training "
            "items than held-out ones do. Below -3 they hug them; far above 3 they are worse than real ones.",
            **common,
        )
    )
    name = "nearer to training items than new ones are"
    if subject.shifted:
        findings.lacks(name, subject.shifted)
        return
    # What is merely typical is near to everything: also to held-out items, as many as training items.
    half = len(real) // 2
    fresh = _members(subject, len(real) - half)
    near = [copying(generated, real[:half], x, cells=1) for x in (fresh, real[half : half + len(fresh)])]
    hugs = not any(map(math.isnan, near)) and near[0] - near[1] < -_APART
    findings.checks.append(
        Check(
            name=name,
            found=z < -3 and hugs,
            says=f"Generated items lie {abs(z):.1f} standard errors {'nearer to' if z < 0 else 'further from'} "
            "training items than held-out ones do; 3 nearer, and no nearer to held-out items, would be copying.",
        )
    )


def _membership(subject: Subject, findings: Findings) -> None:
    """The attack on as many training items as held-out ones, and the same where there is nothing to find."""
    members = _members(subject, len(subject.real))
    others = subject.real.features
    found = by_distance(members, others, subject.generated.features)
    if len(others) < 2 * _LEAST:
        findings.lacks("membership by distance, on a control set", f"needs {2 * _LEAST} held-out items")
        beside = None
    else:
        beside = control(members, others)
    findings.figures += attack_figures(subject, "distance", found, beside)
    usual = beside.interval[1] if beside else 0.5
    name = "members told from others"
    if subject.shifted:
        findings.lacks(name, subject.shifted)
        return
    findings.checks.append(
        Check(
            name=name,
            found=found.interval[0] > max(0.5, usual) + 0.02,
            says=f"By the distance to generated items, who was in the training data is guessed with an area of "
            f"{found.area:.3f} under the curve (a coin: .5"
            + (f"; on a control set that knows nothing: {beside.area:.3f})." if beside else ")."),
        )
    )


def _members(subject: Subject, count: int) -> Tensor:
    """The features of so many training items."""
    assert subject.fresh is not None
    features = subject.fresh.features
    return features[in_order(features)][:count]


def attack_figures(subject: Subject, by: str, found: Attack, beside: Attack | None) -> list[Figure]:
    """The area and, where there are enough items, the sensitivity of an attack."""
    extractor = subject.extractor.name if by == "distance" else None
    instead = "in the place of generated ones" if by == "distance" else "in the place of training ones"
    common = {"group": "privacy", "better": "lower", "extractor": extractor, "seed": subject.seed}
    common |= {"real": found.others, "generated": len(subject.generated) if by == "distance" else 0}
    figures = [
        Figure(
            name=f"membership AUC by {by}",
            key=f"membership_{by}",
            value=found.area,
            low=found.interval[0],
            high=found.interval[1],
            ceiling=beside.area if beside else 0.5,
            meaning=f"Who was in the training data, guessed by {by}: .5 is a coin, 1 is certain. Of {found.members:,} "
            f"training and {found.others:,} held-out items"
            + (f"; the ceiling is the same attack with half of the held-out ones {instead}." if beside else "."),
            **common,
        )
    ]
    if found.sensitivity is not None:
        low, high = share_interval(round(found.sensitivity * found.members), found.members)
        figures.append(
            Figure(
                name=f"members found at 1 % false alarms, by {by}",
                key=f"membership_{by}_sensitivity",
                value=found.sensitivity,
                low=low,
                high=high,
                ceiling=beside.sensitivity if beside and beside.sensitivity is not None else 0.01,
                meaning="The same attack where it is sure: .01 is a coin. A few members may be exposed though the area "
                "is near .5.",
                **common,
            )
        )
    return figures


def _counted(found: Copies) -> str:
    return f"{found.hits:,} of {found.count:,} ({found.exact:,} exactly)"
