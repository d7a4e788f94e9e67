"""Statistics of texts against direct definitions, on texts small enough for them."""

from __future__ import annotations

import math
from collections import Counter
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphogen.core.errors import UserError
from morphogen.metrics.frechet import Frechet
from morphogen.modalities.text.features import Grams, independent_baseline
from morphogen.modalities.text.statistics import copied_spans, variety
from morphogen.modalities.text.statistics._shuffle import shuffled
from morphogen.modalities.text.statistics.copied_spans import longest_copied
from morphogen.modalities.text.statistics.self_bleu import self_bleu

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", ",", "."]
SIGNS = "ab \N{COMBINING ACUTE ACCENT}\N{GRINNING FACE}\N{ZERO WIDTH JOINER}"  # few, so that spans are in common
small = st.text(SIGNS, max_size=30)
sentences = st.lists(st.sampled_from(WORDS[:4]), max_size=9).map(" ".join)


def prose(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(5, 30))) for _ in range(count)]


def grams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))


def bleu(candidate: list[str], references: list[list[str]], order: int) -> float:
    """As papers write it: clipped precisions, closest length; 0.1 for no match (method 1), orders that there are."""
    if not candidate:
        return float([] in references)
    logs = []
    for n in range(1, order + 1):
        own = grams(candidate, n)
        matches = sum(min(times, max(grams(one, n)[gram] for one in references)) for gram, times in own.items())
        if n == 1 and not matches:
            return 0.0
        if own:
            logs.append(math.log((matches or 0.1) / sum(own.values())))
    closest = min((abs(len(one) - len(candidate)), len(one)) for one in references)[1]
    return min(1.0, math.exp(1 - closest / len(candidate))) * math.exp(sum(logs) / len(logs))


@settings(max_examples=100, deadline=None)
@given(items=st.lists(sentences, min_size=2, max_size=6), order=st.integers(1, 4))
def test_self_bleu_is_the_mean_of_bleu_against_the_others(items, order):
    split = [item.split() for item in items]
    expected = [bleu(one, split[:number] + split[number + 1 :], order) for number, one in enumerate(split)]
    assert self_bleu(items, order=order) == pytest.approx(np.mean(expected), abs=1e-12)


def test_self_bleu_of_longer_texts():
    split = [item.split() for item in prose(12)]
    expected = [bleu(one, split[:number] + split[number + 1 :], 4) for number, one in enumerate(split)]
    assert self_bleu(prose(12)) == pytest.approx(np.mean(expected), abs=1e-12)


def test_self_bleu_rises_as_texts_repeat():
    items = prose(60)
    values = [self_bleu(items[: 60 - again] + items[:again]) for again in (0, 15, 30)]
    assert values == sorted(values)
    assert values[0] < 0.8 * values[2]
    assert self_bleu(["one"] * 3) == self_bleu(["a word or four, and more"] * 2) == 1
    assert self_bleu(["", ""]) == 1
    assert self_bleu(["", "a", "b"]) == 0
    with pytest.raises(UserError, match="found 1"):
        self_bleu(["alone"])


def test_a_draw_depends_on_the_texts_and_not_on_their_order():
    items = prose(90) + ["a copy"] * 10
    for figure in (
        lambda some: self_bleu(some, most=40),
        lambda some: variety.distinct(some, 2, words=300),
        variety.repetition,
    ):
        assert figure(items) == figure(items[::-1])
    assert self_bleu(items, most=40) != self_bleu(items, most=40, seed=1)
    # A fair share of the copies is among the first half, not all of them or none.
    shares = [shuffled(items, seed)[:50].count("a copy") for seed in range(20)]
    assert 3 < np.mean(shares) < 7
    assert max(shares) < 10


def test_distinct_by_hand():
    items = ["a b a b", "a b c"]  # pairs ab ba ab, ab bc
    assert variety.distinct(items, 1, words=7) == 3 / 7
    assert variety.distinct(items, 2, words=7) == 3 / 5
    assert variety.distinct(["a b a b c"], 2, words=4) == 2 / 3
    assert variety.distinct(["Don't"], 1, words=3) == 1  # Don ' t
    assert variety.word_count(items) == 7
    with pytest.raises(UserError, match="7 words, fewer than words=8"):
        variety.distinct(items, 1, words=8)
    with pytest.raises(UserError, match="no text"):
        variety.distinct(["one", "two"], 2, words=2)


def test_distinct_compares_sets_of_any_size():
    few, many = prose(40), prose(400, seed=1)
    of_many = variety.distinct(many, 2, words=variety.word_count(many))
    same = variety.distinct(many, 2, words=variety.word_count(few))
    own = variety.distinct(few, 2, words=variety.word_count(few))
    assert abs(same - own) < 0.05 < own - of_many


def test_repetition_by_hand():
    assert variety.repetition(["a b a b a b"], 2) == 3 / 5
    assert variety.repetition(["a b c d e"], 4) == 0
    assert variety.repetition(["a b a b a b", "x y z", "one", ""], 2) == 3 / 5 / 2
    assert variety.repetition(["on and on " * 50]) > 0.95
    with pytest.raises(UserError, match="no text has 4 words"):
        variety.repetition(["one", ""])


def test_unknown_words_by_hand():
    known = variety.vocabulary(["The cat.", "sat on the mat"])
    assert variety.unknown_words(["the cat zat .", "cat"], known) == 1 / 5
    assert variety.unknown_words(["cat"], variety.vocabulary([])) == 1
    with pytest.raises(UserError, match="no words"):
        variety.unknown_words([" "], known)


@settings(max_examples=100, deadline=None)
@given(
    items=st.lists(st.text("ab", max_size=40), max_size=4),
    corpus=st.lists(st.text("ab", max_size=60), min_size=1, max_size=4),
    length=st.integers(1, 9),
)
def test_texts_that_may_share_a_span_have_a_window_of_the_corpus(
    items: list[str], corpus: list[str], length: int
) -> None:
    expected = [
        any(
            len(window := item[at : at + length]) == length and any(window in one for one in corpus)
            for at in range(0, len(item), length)
        )
        for item in items
    ]
    assert copied_spans.may_share(items, corpus, length).tolist() == expected


def longest(text: str, corpus: list[str]) -> int:
    """By trying all spans."""
    spans = {text[start:stop] for start in range(len(text)) for stop in range(start + 1, len(text) + 1)}
    return max((len(span) for span in spans if any(span in item for item in corpus)), default=0)


def check(items: list[str], corpus: list[str]) -> None:
    spans = longest_copied(items, corpus)
    assert [one.text for one in spans] == list(range(len(items)))
    for one in spans:
        assert corpus[one.item][one.offset : one.offset + len(one.span)] == one.span
        assert one.span in items[one.text]
        assert len(one.span) == longest(items[one.text], corpus)


@pytest.mark.parametrize("chunk", [1, 8, 1 << 18])
def test_the_longest_copied_span_is_that_of_brute_force(chunk):
    @settings(max_examples=80, deadline=None)
    @given(items=st.lists(small, max_size=5), corpus=st.lists(small, min_size=1, max_size=5))
    def holds(items, corpus):
        with mock.patch.object(copied_spans, "_CHUNK", chunk):
            check(items, corpus)

    holds()


@pytest.mark.parametrize("alphabet", ["a", "ab", "abcdefgh"])
def test_longer_texts_of_few_signs(alphabet):
    random = np.random.default_rng(0)

    def random_text(length: int) -> str:
        return "".join(random.choice(list(alphabet), length))

    for chunk in (64, 1 << 18):
        with mock.patch.object(copied_spans, "_CHUNK", chunk):
            check(
                [random_text(length) + "!" for length in (1, 17, 40, 63, 64, 90)], [random_text(300), random_text(50)]
            )


def test_a_planted_copy_is_found_where_it_is():
    random = np.random.default_rng(0)
    letters = [chr(point) for point in range(0x3B1, 0x3CA)] + ["\N{GRINNING FACE}", " "]
    corpus = ["".join(random.choice(letters, length)) for length in (5000, 0, 300_000, 70_000)]
    texts = ["".join(random.choice(letters, 400)) for _ in range(30)]
    planted = [(2, 250_000, 100), (0, 0, 33), (2, 299_900, 100), (3, 69_999 - 63, 64), (2, 262_100, 256)]
    for number, (item, offset, length) in enumerate(planted):
        span = corpus[item][offset : offset + length]
        texts[number] = texts[number][:100] + "!" + span + "!" + texts[number][100:]
    spans = longest_copied(texts, corpus)
    assert [(one.item, one.offset, len(one.span)) for one in spans[: len(planted)]] == planted
    assert all(2 <= len(one.span) < 10 for one in spans[len(planted) :])


def test_texts_with_nothing_in_common():
    assert longest_copied(["", "xyz"], ["", "abc"]) == [(0, 0, 0, ""), (1, 0, 0, "")]
    assert longest_copied([], ["abc"]) == []
    with pytest.raises(UserError, match="corpus is empty"):
        longest_copied(["a"], [])


def test_hashes_that_collide_are_noticed():
    exact, salts = copied_spans._combined, []

    def weak(one, other):
        if not np.ndim(other):
            salts.append(int(other))
        return exact(one, other) & np.uint64(2**64 - 1 if salts[-1] else 0xF << 60)

    random = np.random.default_rng(0)
    items, corpus = (["".join(random.choice(list("abcdefgh"), 60)) for _ in range(3)] for _ in range(2))
    with mock.patch.object(copied_spans, "_combined", weak):
        check(items, corpus)
    assert salts == [0, 0, 1, 1]


def test_the_distance_of_features_tells_texts_from_the_baseline():
    real, other, third = prose(300, seed=1), prose(300, seed=2), prose(300, seed=3)
    random = np.random.default_rng(0)
    permuted = ["".join(random.permutation(third[number].split(" ")).tolist()) for number in range(300)]

    def distance(generated: list[str]) -> float:
        metric = Frechet()
        metric.update(Grams().features(real), real=True)
        metric.update(Grams().features(generated), real=False)
        return metric.compute()["frechet"]

    assert distance(other) < distance(permuted) / 2 < distance(independent_baseline(third, 0))
    assert distance(other) < distance(independent_baseline(third, 0)) / 5
