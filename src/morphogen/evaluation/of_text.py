"""What is measured of texts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..core.errors import UserError
from . import texts
from .chance import halves, more_often
from .results import Check, Figure
from .subject import Findings, Subject

_LEAST, _MOST = 20, 500  # texts
_DRAWS = 10
_SHOWN, _AROUND = 8, 60  # spans, and characters before and after


def measure(subject: Subject, findings: Findings) -> None:
    """Variety by words, loops, spelling, and spans that are copied from the training texts."""
    real, generated = subject.real.items[:_MOST], subject.generated.items[:_MOST]
    if min(len(real), len(generated)) < _LEAST:
        for name in ("self-BLEU", "distinct-n", "repetition", "unknown words", "longest copied span"):
            findings.lacks(name, f"needs at least {_LEAST} texts of each side; found {len(real)} held out")
        return
    count = min(len(real), len(generated))
    real, generated = real[:count], generated[:count]
    words = min(texts.word_count(real), texts.word_count(generated))
    few = max(1, words // 3)  # half the texts have about half the words
    measures: list[tuple[str, str, Callable[[Sequence[str]], float], str]] = [
        (
            "self-BLEU",
            "self_bleu",
            lambda some: texts.self_bleu(some, seed=subject.seed),
            "How much of each text is found in the others, by up to four words in a row; more than in real ones is a "
            "lack of variety.",
        ),
        *[
            (
                f"distinct-{n}",
                f"distinct_{n}",
                lambda some, n=n: texts.distinct(some, n, words=few, seed=subject.seed),
                f"Share of different runs of {n} words among the first {few:,} words.",
            )
            for n in (1, 2, 3)
        ],
        (
            "repetition",
            "repetition",
            texts.repetition,
            "Share of runs of four words that occurred before in the same text; more than in real ones is a loop.",
        ),
    ]
    if subject.corpus is not None:
        known = texts.vocabulary(subject.corpus)
        measures.append(
            (
                "unknown words",
                "unknown_words",
                lambda some: texts.unknown_words(some, known),
                "Share of words that are in no training text that was read; more than in real ones is bad spelling.",
            )
        )
    else:
        findings.lacks("unknown words", "the training texts are not to be had")
    for name, key, figure, meaning in measures:
        try:
            value, ceiling = figure(generated), figure(real)
            error = _error(figure, generated, subject.seed)
        except UserError as refused:
            findings.lacks(name, str(refused))
            continue
        findings.figures.append(_figure(subject, name, key, "variety", value, error, ceiling, "near", meaning, count))
    _copied(subject, findings, real, generated)


def _error(figure: Callable[[Sequence[str]], float], items: Sequence[str], seed: int) -> float:
    """The standard error, by halves of the texts."""
    index = torch.arange(len(items))
    found = halves(
        lambda one, _: {"": figure([items[at] for at in one.tolist()])}, index, index, draws=_DRAWS, seed=seed
    )
    return found[""]


def _figure(
    subject: Subject,
    name: str,
    key: str,
    group: Any,
    value: float,
    error: float,
    ceiling: float,
    better: Any,
    meaning: str,
    count: int,
) -> Figure:
    return Figure(
        name=name,
        key=key,
        group=group,
        value=value,
        low=max(0.0, value - 1.96 * error),
        high=value + 1.96 * error,
        ceiling=ceiling,
        better=better,
        real=count,
        generated=count,
        seed=subject.seed,
        meaning=meaning,
    )


def _copied(subject: Subject, findings: Findings, real: Sequence[str], generated: Sequence[str]) -> None:
    """The longest spans that are found word for word in the training texts, beside those of held-out texts."""
    if subject.corpus is None:
        findings.lacks("longest copied span", "the training texts are not to be had")
        return
    spans = texts.longest_copied(generated, subject.corpus)
    lengths, usual = (
        np.array([len(one.span) for one in found], dtype=np.float64)
        for found in (spans, texts.longest_copied(real, subject.corpus))
    )
    findings.figures.append(
        _figure(
            subject,
            "longest copied span (characters)",
            "copied_span",
            "copying",
            float(lengths.mean()),
            float(lengths.std(ddof=1)) / len(lengths) ** 0.5,
            float(usual.mean()),
            "near",
            "Of each generated text the longest piece that stands in the training texts, on average; the ceiling is "
            "that of held-out texts.",
            len(generated),
        )
    )
    limit = float(np.quantile(usual, 0.99))
    hits = int((lengths > limit).sum())
    findings.checks.append(
        Check(
            name="long spans copied from training texts",
            found=hits >= 3 and more_often(hits, len(lengths), int((usual > limit).sum()), len(usual)) < 1e-3,
            says=f"{hits:,} of {len(lengths):,} generated texts hold a piece of more than {limit:,.0f} characters of "
            f"the training texts, longer than 99 % of held-out ones do; the longest has {lengths.max():,.0f}.",
        )
    )
    for at in np.argsort(-lengths, kind="stable")[:_SHOWN].tolist():
        text, span = generated[at], spans[at].span
        start = text.find(span)
        findings.material.copied.append(
            (text[max(0, start - _AROUND) : start], span, text[start + len(span) :][:_AROUND])
        )
