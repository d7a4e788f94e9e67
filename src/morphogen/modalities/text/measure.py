"""Figures of texts alone: variety of words, loops, spelling, and spans copied from training texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from morphogen.core.errors import UserError
from morphogen.core.judge import Comparison
from morphogen.core.results import Check, CopiedSpan, Figure, Group, Results
from morphogen.metrics.statistics.intervals import fisher_exact, halves

from .statistics.copied_spans import longest_copied
from .statistics.self_bleu import self_bleu
from .statistics.variety import distinct, repetition, unknown_words, vocabulary, word_count

Texts = Sequence[str]
_LEAST, _MOST = 20, 500  # texts
_DRAWS = 10
_SHOWN, _CONTEXT = 8, 60  # spans, and characters before and after
_NO_TRAINING_TEXTS = "the training texts cannot be read"


class _Measure(NamedTuple):
    name: str
    key: str
    function: Callable[[Texts], float]
    meaning: str


def measure(comparison: Comparison[Texts], results: Results) -> None:
    """Add figures of variety, loops, spelling and copied spans, on equal numbers of generated and held-out texts."""
    count = min(len(comparison.real), len(comparison.generated), _MOST)
    if count < _LEAST:
        real_count, generated_count = len(comparison.real), len(comparison.generated)
        reason = f"needs at least {_LEAST} texts of each side; found {real_count} held out, {generated_count} generated"
        results.skip(reason, "self-BLEU", "distinct-n", "repetition", "unknown words", "longest copied span")
        return
    real, generated = comparison.real.items[:count], comparison.generated.items[:count]
    measures = _variety(real, generated, comparison.seed)
    if comparison.train_items is not None:
        known = vocabulary(comparison.train_items)
        meaning = (
            "Share of words that occur in no training text that was read; more than in real texts is bad spelling."
        )
        measures.append(_Measure("unknown words", "unknown_words", lambda texts: unknown_words(texts, known), meaning))
    else:
        results.skip(_NO_TRAINING_TEXTS, "unknown words")
    for one in measures:
        try:
            value, real_value = one.function(generated), one.function(real)
            error = _error(one.function, generated, comparison.seed)
        except UserError as refusal:
            results.skip(str(refusal), one.name)
            continue
        figure = _figure(one.name, one.key, "variety", one.meaning, value, error, real_value, count, comparison.seed)
        results.figures.append(figure)
    _copied_spans(comparison, results, real, generated)


def _variety(real: Texts, generated: Texts, seed: int) -> list[_Measure]:
    words = min(word_count(real), word_count(generated))
    few = max(1, words // 3)  # half of the texts have about half of the words
    bleu = (
        "How much of each text occurs in the others, by up to four consecutive words; more than in real texts is a "
        "lack of variety."
    )
    loops = "Share of four-word sequences that occurred before in the same text; more than in real texts is a loop."
    return [
        _Measure("self-BLEU", "self_bleu", lambda texts: self_bleu(texts, seed=seed), bleu),
        *(_distinct(n, few, seed) for n in (1, 2, 3)),
        _Measure("repetition", "repetition", repetition, loops),
    ]


def _distinct(n: int, few: int, seed: int) -> _Measure:
    return _Measure(
        name=f"distinct-{n}",
        key=f"distinct_{n}",
        function=lambda texts: distinct(texts, n, words=few, seed=seed),
        meaning=f"Share of different {n}-word sequences among the first {few:,} words.",
    )


def _error(function: Callable[[Texts], float], items: Texts, seed: int) -> float:
    """Return the standard error, by halves of the texts."""
    index = torch.arange(len(items))
    errors = halves(
        lambda half, _: {"value": function([items[at] for at in half.tolist()])}, index, index, draws=_DRAWS, seed=seed
    )
    return errors["value"]


def _figure(
    name: str,
    key: str,
    group: Group,
    meaning: str,
    value: float,
    error: float,
    real_value: float,
    count: int,
    seed: int,
) -> Figure:
    return Figure(
        name=name,
        key=key,
        group=group,
        value=value,
        low=max(0.0, value - 1.96 * error),
        high=value + 1.96 * error,
        real_data=real_value,
        better="near",
        real=count,
        generated=count,
        seed=seed,
        meaning=meaning,
    )


def _copied_spans(comparison: Comparison[Texts], results: Results, real: Texts, generated: Texts) -> None:
    """Compare the longest spans that occur verbatim in the training texts with those of held-out texts."""
    if comparison.train_items is None:
        results.skip(_NO_TRAINING_TEXTS, "longest copied span")
        return
    spans = longest_copied(generated, comparison.train_items)
    lengths, real_lengths = (
        np.array([len(copied.span) for copied in side], dtype=np.float64)
        for side in (spans, longest_copied(real, comparison.train_items))
    )
    meaning = "The longest piece of each generated text that occurs in the training texts, on average."
    error = float(lengths.std(ddof=1)) / len(lengths) ** 0.5
    value, real_value = float(lengths.mean()), float(real_lengths.mean())
    name, seed = "longest copied span (characters)", comparison.seed
    figure = _figure(name, "copied_span", "copying", meaning, value, error, real_value, len(generated), seed)
    results.figures.append(figure)
    limit = float(np.quantile(real_lengths, 0.99))
    hits, real_hits = int((lengths > limit).sum()), int((real_lengths > limit).sum())
    results.checks.append(
        Check(
            name="long spans copied from training texts",
            detected=hits >= 3 and fisher_exact(hits, len(lengths), real_hits, len(real_lengths)) < 1e-3,
            privacy=True,
            message=f"{hits:,} of {len(lengths):,} generated texts share more than {limit:,.0f} consecutive characters "
            f"with a training text, which 1 % of held-out texts do; the longest span has {lengths.max():,.0f}.",
        )
    )
    for index in np.argsort(-lengths, kind="stable")[:_SHOWN].tolist():
        text, span = generated[index], spans[index].span
        start = text.find(span)
        before, after = text[max(0, start - _CONTEXT) : start], text[start + len(span) :][:_CONTEXT]
        results.copied_spans.append(CopiedSpan(before, span, after))
