"""The data of an evaluation: digests, splits, and contamination."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from items import COUNT, picture_model, rows, shades, words

from morphogen.core.errors import UserError
from morphogen.core.extractor import Extractor
from morphogen.core.modality import modality
from morphogen.core.space import Grid, Row, TokenSequence
from morphogen.data.fingerprint import source_digest
from morphogen.data.sources import open_source
from morphogen.evaluation.overlap import Overlap, content_hashes, find_overlap
from morphogen.evaluation.samples import make_sample
from morphogen.evaluation.splits import Split, Splits, exclude, open_splits, split_train
from morphogen.modalities.image.codec import ImageCodec
from morphogen.modalities.image.judge import JUDGE as IMAGE_JUDGE
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.judge import JUDGE as TABLE_JUDGE
from morphogen.modalities.table.options import Options
from morphogen.modalities.text.codec import TextCodec
from morphogen.modalities.text.judge import JUDGE as TEXT_JUDGE
from morphogen.pipeline import Pipeline


def of_list(items: Any, order: list[int]) -> Any:
    return items.take(order) if hasattr(items, "take") else [items[at] for at in order]


# Digests


@pytest.mark.parametrize("make", [words, shades, rows])
def test_a_digest_changes_with_its_source(make: Callable[..., Any]) -> None:
    items, other = make(), make(seed=1)
    positions = list(range(COUNT))
    both = arrow.concat_tables([items, other]) if hasattr(items, "take") else items + other
    digest = source_digest(open_source(items))
    assert source_digest(open_source(make())) == digest
    orders = {
        "added": [*positions, COUNT],
        "added in front": [COUNT, *positions],
        "removed": positions[:-1],
        "removed in front": positions[1:],
        "reordered": [1, 0, *positions[2:]],
        "reversed": positions[::-1],
        "changed": [*positions[:7], COUNT + 7, *positions[8:]],
        "twice": [*positions, 0],
    }
    digests = [source_digest(open_source(of_list(both, positions))) for positions in orders.values()]
    assert len({digest, *digests}) == 1 + len(orders)


def test_a_digest_of_files_notices_their_names(tmp_path: Path) -> None:
    for number, one in enumerate(shades(12)):
        one.save(tmp_path / f"{number:02d}.png")
    digest = source_digest(open_source(str(tmp_path)))
    copy = tmp_path.with_name("copy")
    shutil.copytree(tmp_path, copy)
    assert source_digest(open_source(str(copy))) == digest
    (copy / "03.png").rename(copy / "03b.png")
    assert source_digest(open_source(str(copy))) != digest
    (copy / "03b.png").rename(copy / "03.png")
    shades(1, seed=1)[0].save(copy / "03.png")
    assert source_digest(open_source(str(copy))) != digest
    (copy / "03.png").write_bytes(b"broken")
    broken = source_digest(open_source(str(copy)))
    assert broken not in (digest, source_digest(open_source(str(tmp_path))))
    assert broken == source_digest(open_source(str(copy)))


def test_of_many_items_texts_and_rows_are_noticed_one_by_one() -> None:
    for make in (words, rows):
        many = make(500)
        order = [*range(137), 0, *range(138, 500)]
        assert source_digest(open_source(many)) != source_digest(open_source(of_list(many, order)))


# Splits


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(COUNT)), most=st.integers(0, COUNT + 2), seed=st.integers(0, 9))
def test_some_items_are_the_same_in_any_order(order: list[int], most: int, seed: int) -> None:
    items = words()
    labels = [one[:3] for one in items]

    def sample_in_order(order: list[int]) -> Split:
        source = open_source([items[at] for at in order])
        return Split(source, np.arange(COUNT), [labels[at] for at in order]).sample(most, seed)

    def pairs(side: Split) -> list[tuple[str, str]]:
        assert side.labels is not None
        assert (np.diff(side.indices) > 0).all()
        return [(side.source.read(int(at)), label) for at, label in zip(side.indices, side.labels, strict=True)]

    one, other = sample_in_order(list(range(COUNT))), sample_in_order(order)
    assert len(one) == min(most, COUNT)
    assert sorted(pairs(one)) == sorted(pairs(other))
    assert all(text[:3] == label for text, label in pairs(other))


def test_a_small_sample_is_part_of_a_larger_one_and_depends_on_the_seed() -> None:
    side = Split(open_source(words(200)), np.arange(200))
    few, more = set(side.sample(20).indices.tolist()), set(side.sample(60).indices.tolist())
    assert few < more
    assert few != set(side.sample(20, seed=1).indices.tolist())
    # Of part of a source those of them that would be taken of all.
    part = Split(side.source, np.array(sorted(more)))
    assert set(part.sample(20).indices.tolist()) == few


def test_what_cannot_be_read_is_left_out_with_its_label(tmp_path: Path) -> None:
    for number, one in enumerate(shades(6)):
        one.save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"broken")
    side = Split(open_source(str(tmp_path)), np.array([1, 2, 4]), ["a", "b", "c"]).without_unreadable()
    assert side.indices.tolist() == [1, 4]
    assert side.labels == ["a", "c"]
    assert [one.tobytes() for block in side.blocks() for one in block] == [
        one.tobytes() for one in of_list(shades(6), [1, 4])
    ]
    whole = Split(open_source(rows()), np.arange(4))
    assert whole.without_unreadable() is whole


def test_excluded_items_are_left_out_with_their_labels() -> None:
    side = Split(open_source(words(5)), np.array([0, 2, 3]), ["a", "b", "c"])
    for hits in (np.array([False, True, False]), [False, True, False]):
        remaining = exclude(side, hits)
        assert remaining.indices.tolist() == [0, 3]
        assert remaining.labels == ["a", "c"]
    assert len(exclude(side, [True] * 3)) == 0


# Overlap


def test_hashes_are_of_the_content_of_the_item_alone() -> None:
    texts = ["abc", "a much longer text that takes more symbols than the others do", "", "abc", "abd"]
    codec = TextCodec.fit([[*texts, *words()]], TokenSequence)
    together = content_hashes(TEXT_JUDGE, codec, iter([texts]))
    one_by_one = content_hashes(TEXT_JUDGE, codec, iter([[one] for one in texts]))
    assert together.tolist() == one_by_one.tolist()
    assert together[0] == together[3]
    assert len(set(together.tolist())) == 4
    pictures = ImageCodec.fit([shades()], Grid)
    blocks = [shades(), [one.convert("RGB") for one in shades()]]  # the same grey pictures
    hashes = content_hashes(IMAGE_JUDGE, pictures, iter(blocks)).reshape(2, COUNT)
    assert hashes[0].tolist() == hashes[1].tolist()
    assert len(set(hashes[0].tolist())) == COUNT
    assert len(content_hashes(IMAGE_JUDGE, pictures, iter([]))) == 0
    table = TableCodec.fit([rows()], Row, Options())
    assert len(set(content_hashes(TABLE_JUDGE, table, iter([rows(), rows()])).tolist())) == COUNT


class Relative(Extractor[Any]):
    """Features that hang on what else is in the batch, as the last bits of all do."""

    name, modality, at_once = "relative", "image", 7

    def features(self, items: Any) -> torch.Tensor:
        x = torch.from_numpy(np.stack([np.asarray(one) for one in items])).flatten(1).float()
        return x - x.mean(0)


def sample_of(codec: Any, items: Any, labels: list[str]) -> Any:
    own = modality("image")
    return make_sample(items, labels, extractor=Relative(), codec=codec, judge=IMAGE_JUDGE, modality=own)


def test_features_do_not_depend_on_the_order_of_items() -> None:
    codec, items = ImageCodec.fit([shades()], Grid), shades()
    labels = [str(at) for at in range(COUNT)]
    one = sample_of(codec, items, labels)
    order = np.random.default_rng(1).permutation(COUNT).tolist()
    other = sample_of(codec, of_list(items, order), of_list(labels, order))
    assert torch.equal(one.features, other.features)
    assert one.labels == other.labels
    assert [np.asarray(a).tolist() for a in one.items] == [np.asarray(a).tolist() for a in other.items]


@settings(max_examples=60, deadline=None)
@given(items=st.lists(st.integers(0, 20), max_size=30), train=st.lists(st.integers(0, 20), max_size=60))
def test_overlap_counts_items_that_are_there(items: list[int], train: list[int]) -> None:
    overlap = find_overlap(np.array(items, dtype=np.uint64), np.array(train, dtype=np.uint64))
    assert overlap.hits.tolist() == [one in train for one in items]
    assert overlap.count == sum(one in train for one in items)
    twins = sum(train.count(one) > 1 for one in train) / max(1, len(train))
    assert overlap.expected == pytest.approx(twins * len(items))


def test_natural_duplicates_are_no_contamination_and_more_are() -> None:
    def sample(count: int, seed: int, kinds: int = 3000) -> Any:
        return np.random.default_rng(seed).integers(0, kinds, count).astype(np.uint64)

    natural = [find_overlap(sample(400, seed), sample(2000, seed + 500)) for seed in range(100)]
    assert min(one.count for one in natural) > 100
    assert np.mean([one.count for one in natural]) == pytest.approx(
        np.mean([one.expected for one in natural]), rel=0.03
    )
    assert sum(one.contaminated for one in natural) <= 2
    train = sample(2000, 0)
    assert find_overlap(np.concatenate([sample(200, 1), train[:200]]), train).contaminated
    assert not Overlap(np.array([True] * 3 + [False] * 90), 0).contaminated
    assert Overlap(np.array([True] * 4 + [False] * 90), 0).contaminated


def test_excerpts_are_pieces_and_not_what_texts_have_in_common() -> None:
    corpus = words(40)
    long = " ".join(corpus[:4])  # 203 characters
    items = [
        long[20:100],  # a piece
        "Z" * 30 + long[:70] + "Y" * 30,  # most of it is one
        "Z" * 100 + long[:70] + "Y" * 100,  # a quote
        long[:59],  # too short to say
        words(1, seed=9)[0] * 2,
    ]
    assert TEXT_JUDGE.contained(items, [long, *corpus[4:]]).tolist() == [True, True, False, False, False]
    with pytest.raises(UserError, match="the corpus is empty"):
        TEXT_JUDGE.contained(items, [])


def splits_of(pipeline: Pipeline, **settings: Any) -> Splits:
    return open_splits(pipeline, IMAGE_JUDGE, **settings)


@pytest.fixture
def model(tmp_path: Path) -> Pipeline:
    return picture_model(tmp_path)


def test_splits_are_the_held_out_items_and_all_others(model: Pipeline) -> None:
    splits = splits_of(model)
    assert splits.real.indices.tolist() == list(range(0, COUNT, 4))
    assert splits.train is not None
    assert splits.train.indices.tolist() == [at for at in range(COUNT) if at % 4]
    assert splits.real.labels == ["a"] * 4 + ["b"] * 4
    assert set(splits.train.labels or []) == {"a", "b"}
    assert (splits.reason, splits.label) == ("", "label")


def test_validation_items_are_known_and_not_trained_on(model: Pipeline) -> None:
    assert model.folder is not None
    split = json.loads((model.folder / "split.json").read_text())
    (model.folder / "split.json").write_text(json.dumps(split | {"validation": [1, 2]}))
    splits = splits_of(model)
    assert splits.train is not None
    assert splits.known is not None
    assert splits.train.indices.tolist() == [at for at in range(3, COUNT) if at % 4]
    assert splits.known.indices.tolist() == [at for at in range(COUNT) if at % 4]


def test_training_items_are_divided_and_no_class_is_lost() -> None:
    source = open_source((shades(60), ["a"] * 57 + ["b"] * 3))
    side = Split(source, np.arange(60), source.columns["label"])
    for count in (5, 19):
        few = Split(source, np.arange(count), ["a"] * count)
        assert [one is few for one in split_train(few, 100)] == [True, True]
    unseen, basis = split_train(side, 100)
    assert sorted([*unseen.indices.tolist(), *basis.indices.tolist()]) == list(range(60))
    assert 27 <= len(unseen) <= 30
    assert set(basis.labels or []) == {"a", "b"}
    unseen, _ = split_train(Split(source, np.arange(60)), 7)
    assert len(unseen) == 7
    for at in range(60):  # one item of its class
        labels = ["a"] * 60
        labels[at] = "b"
        assert "b" in (split_train(Split(source, np.arange(60), labels), 100)[1].labels or [])


def test_a_split_of_one_class_has_no_labels(model: Pipeline, tmp_path: Path) -> None:
    assert splits_of(model, data=str(tmp_path / "photos")).real.labels is not None
    assert splits_of(model, data=str(tmp_path / "photos" / "a")).real.labels is None
    with pytest.raises(UserError, match="unknown column 'nothing'; known: label"):
        splits_of(model, label="nothing")


def test_a_source_that_changed_is_refused_unless_there_is_other_data(model: Pipeline, tmp_path: Path) -> None:
    shades(1, seed=5)[0].save(tmp_path / "photos" / "a" / "new.png")
    with pytest.raises(UserError, match=r"is not what the model was fitted to: .* restore it, or give --data"):
        splits_of(model)
    splits = splits_of(model, data=shades(9, seed=6))
    assert len(splits.real) == 9
    assert splits.train is None
    assert "is not what the model was fitted to" in splits.reason
    # A source that was named is refused when it is another one.
    with pytest.raises(UserError, match="and no --source"):
        splits_of(model, data=shades(9, seed=6), source=str(tmp_path / "photos"))


def test_a_source_that_is_gone_is_asked_for(model: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(
        UserError, match=r"there is no file or folder .*; give --source with its present place, or --data"
    ):
        splits_of(model)
    moved = splits_of(model, source=str(tmp_path / "moved"))
    assert len(moved.real) == 8
    assert splits_of(model, data=shades(9, seed=6)).train is None
    with pytest.raises(UserError, match="no file or folder"):
        splits_of(model, data=shades(9, seed=6), source=str(tmp_path / "photos"))


def test_without_a_split_or_a_held_out_part_there_must_be_data(model: Pipeline) -> None:
    assert model.folder is not None
    file = model.folder / "split.json"
    split = json.loads(file.read_text())
    file.write_text(json.dumps(split | {"held_out": []}))
    with pytest.raises(UserError, match="was held out, because it is too small; give --data"):
        splits_of(model)
    file.write_text(json.dumps(split | {"spec": None}))
    with pytest.raises(UserError, match="was given in memory; give --source"):
        splits_of(model)
    file.unlink()
    with pytest.raises(UserError, match=r"no split\.json"):
        splits_of(model)
    assert len(splits_of(model, data=shades(9, seed=6)).real) == 9
