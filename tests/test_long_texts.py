"""Texts longer than the context: how long samples become, alone, in batches, streamed, and from older folders."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import string
from pathlib import Path

import pytest

import morphogen
from morphogen import Pipeline
from morphogen.core.space import TokenSequence
from morphogen.modalities.text.codec import TextCodec
from morphogen.modalities.text.options import Options
from morphogen.modalities.text.statistics.passages import passage_length

CONTEXT = 16
QUICK = {"batch": 32, "precision": "fp32", "previews": 1, "lr": 4e-3}
MEAN = 10  # verses of a song
ALPHABET = string.ascii_letters[:40]


def song(maker: random.Random) -> str:
    """A text that is as likely to end after each of its verses, wherever it is."""
    verses = next(count for count in itertools.count(1) if maker.random() < 1 / MEAN)
    return "".join("".join(maker.choices(string.ascii_lowercase, k=3)) + " " for _ in range(verses))


def fit(texts: list[str], out: Path, ngram_order: int, steps: int = 150) -> Pipeline:
    codec = {"context": CONTEXT, "tokenizer": "character"}
    options = {"width": 32, "layers": 1, "ngram_order": ngram_order}
    train = QUICK | {"steps": steps}
    return morphogen.fit(texts, modality="text", out=out, codec=codec, train=train, options=options, say=None)


@pytest.fixture(scope="module")
def songs() -> list[str]:
    maker = random.Random(0)
    return [song(maker) for _ in range(600)]


@pytest.fixture(scope="module")
def pipe(songs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    # Without n-grams: that a song ends where it went on before takes the mixture longer to learn.
    return fit(songs, tmp_path_factory.mktemp("songs") / "model", ngram_order=0, steps=400)


def test_samples_are_as_long_as_documents(pipe: Pipeline, songs: list[str]) -> None:
    """Ends are as frequent as they are, although one window of a document has its end, and two its middle."""
    texts = pipe.sample(400, seed=1)
    lengths, known = ([len(text) / 4 for text in side] for side in (texts, songs))
    assert sum(lengths) / 400 == pytest.approx(sum(known) / len(known), rel=0.2)
    for quantile in (0.25, 0.5, 0.75, 0.9):
        own, real = (sorted(side)[int(quantile * len(side))] for side in (lengths, known))
        assert own == pytest.approx(real, rel=0.3, abs=1)


def test_a_document_longer_than_the_context_comes_whole(tmp_path: Path) -> None:
    pipe = fit([f"{number:02}{ALPHABET}" for number in range(60)], tmp_path / "model", ngram_order=3)
    assert pipe.codec.space.max_length == 43  # with the end
    greedy = {"temperature": 0.1}
    assert pipe.sample(3, prompt=["07", "31", "55"], **greedy) == [
        f"{number}{ALPHABET}" for number in ("07", "31", "55")
    ]
    prompt = f"07{ALPHABET[:25]}"  # longer than the context, too
    assert pipe.sample(1, prompt=prompt, **greedy) == [f"07{ALPHABET}"]
    assert pipe.sample(1, prompt=prompt, max_length=3, **greedy) == [f"07{ALPHABET[:28]}"]
    assert pipe.sample(1, prompt="07", beams=3) == pipe.sample(1, prompt="07", best_of=3, **greedy) == [f"07{ALPHABET}"]


def test_the_same_seed_is_the_same_long_text_alone_in_a_batch_and_streamed(pipe: Pipeline) -> None:
    together = pipe.sample(6, seed=40, temperature=1.2)
    assert sum(len(text) > 2 * CONTEXT for text in together) > 1
    for number, text in enumerate(together):
        settings = {"seed": 40 + number, "temperature": 1.2}
        assert pipe.sample(1, **settings) == [text]
        drafts = list(pipe.drafts(**settings))
        assert drafts[-1] == text
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(drafts))


def test_constraints_beyond_the_context(pipe: Pipeline) -> None:
    pytest.importorskip("llguidance")
    texts = pipe.sample(5, regex="([a-z]{3} ){9,12}")
    assert all(36 <= len(text) <= 48 for text in texts)
    assert all(len(text) >= 200 for text in pipe.sample(5, min_length=200)), "a least length raises the greatest"


def test_a_folder_from_before_lengths_were_stored_samples_one_context(pipe: Pipeline, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    pipe.save(folder)
    codec, config = (json.loads((folder / name).read_text()) for name in ("codec/config.json", "config.json"))
    del codec["max_length"], config["space"]["max_length"]
    (folder / "codec" / "config.json").write_text(json.dumps(codec))
    config["files"]["codec/config.json"] = hashlib.sha256((folder / "codec" / "config.json").read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))
    old = morphogen.load(folder)
    assert old.codec.space.max_length == CONTEXT
    texts = old.sample(20, seed=3)
    assert max(map(len, texts)) == CONTEXT
    whole = pipe.sample(20, seed=3)
    assert all(long.startswith(short) for long, short in zip(whole, texts, strict=True))


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([5, 9, 14], 16),  # they fit
        ([5, 9, 40], 41),
        ([3] * 199 + [30], 16),  # an outlier, of which windows are read
        ([20] * 199 + [190], 21),  # an outlier
        ([20] * 90 + [250] * 10, 251),
        ([20] * 90 + [900] * 10, 256),  # 16 contexts
        ([500] * 3, 16),  # samples would not end
        ([500], 16),  # one text has no end
    ],
)
@pytest.mark.parametrize("tokenizer", ["character", "byte"])
def test_the_longest_documents_bound_samples(tokenizer: str, lengths: list[int], expected: int) -> None:
    texts = [
        "\N{GREEK SMALL LETTER ALPHA}" * (n // 2) + "." * (n % 2) if tokenizer == "byte" else "a" * n for n in lengths
    ]
    codec = TextCodec.fit([texts[:2], texts[2:]], TokenSequence, Options(tokenizer=tokenizer, context=CONTEXT))
    assert codec.space.max_length == expected
    says = any("samples" in note for note in codec.notes)
    assert says == (max(lengths) > CONTEXT and len(lengths) > 1)
    config, tensors = codec.state()
    assert TextCodec.from_state(json.loads(json.dumps(config)), tensors).space == codec.space


def test_passages_are_long_enough_to_compare_and_short_enough_to_be_many() -> None:
    real = ["x" * 3000] * 5
    assert passage_length(real, ["y" * 200]) == 200
    assert passage_length(real, ["y" * 3000]) == 300  # 50 of them
    assert passage_length(real[:1], ["y" * 3000]) == 250
    assert passage_length(["x" * 300], ["y" * 3000]) == 150  # two at least
    assert passage_length(real * 10, ["y" * 3000]) is None
