"""What an evaluation compares, what it sees it by, and what it says: sides, digests, extractors, columns, verdicts."""

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
from PIL import Image
from safetensors.torch import load_file, save_file

from morphogen.core.errors import UserError
from morphogen.core.extractor import Extractor
from morphogen.core.space import Continuous, Tokens
from morphogen.data.digest import source_digest
from morphogen.data.sources import open_source
from morphogen.evaluation import tables
from morphogen.evaluation.extracting import chosen, restored, save, seen_by
from morphogen.evaluation.reading import _sample
from morphogen.evaluation.results import Check, Figure
from morphogen.evaluation.sides import Overlap, Side, excerpts, fingerprints, overlap, parted, sides, without
from morphogen.evaluation.verdict import verdict
from morphogen.modalities.image.codec import ImageCodec
from morphogen.modalities.image.features import Cnn, Network
from morphogen.modalities.table import features as of_rows
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.text.codec import TextCodec
from morphogen.modalities.text.features import Grams
from morphogen.pipeline import Pipeline
from morphogen.testing.replay import replaying

COUNT = 30


def words(count: int = COUNT, seed: int = 0) -> list[str]:
    return ["".join(one) for one in np.random.default_rng(seed).choice(list("abcdefgh "), (count, 50))]


def shades(count: int = COUNT, seed: int = 0) -> list[Image.Image]:
    values = np.random.default_rng(seed).integers(0, 256, (count, 6, 6), dtype=np.uint8)
    return [Image.fromarray(one) for one in values]


def rows(count: int = COUNT, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return arrow.table({"a": random.normal(size=count), "b": random.choice(["x", "y"], count)})


def of_list(items: Any, order: list[int]) -> Any:
    return items.take(order) if hasattr(items, "take") else [items[at] for at in order]


# Digests


@pytest.mark.parametrize("make", [words, shades, rows])
def test_a_digest_notices_what_was_done_to_a_source(make: Callable[..., Any]) -> None:
    items, other = make(), make(seed=1)
    every = list(range(COUNT))
    both = arrow.concat_tables([items, other]) if hasattr(items, "take") else items + other
    digest = source_digest(open_source(items))
    assert source_digest(open_source(make())) == digest
    changed = {
        "added": [*every, COUNT],
        "added in front": [COUNT, *every],
        "removed": every[:-1],
        "removed in front": every[1:],
        "reordered": [1, 0, *every[2:]],
        "reversed": every[::-1],
        "changed": [*every[:7], COUNT + 7, *every[8:]],
        "twice": [*every, 0],
    }
    digests = [source_digest(open_source(of_list(both, order))) for order in changed.values()]
    assert len({digest, *digests}) == 1 + len(changed)


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


# Sides


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(COUNT)), most=st.integers(0, COUNT + 2), seed=st.integers(0, 9))
def test_some_items_are_the_same_in_any_order(order: list[int], most: int, seed: int) -> None:
    items = words()
    labels = [one[:3] for one in items]

    def some(order: list[int]) -> Side:
        source = open_source([items[at] for at in order])
        return Side(source, np.arange(COUNT), [labels[at] for at in order]).some(most, seed)

    def pairs(side: Side) -> list[tuple[str, str]]:
        assert side.labels is not None
        assert (np.diff(side.indices) > 0).all()
        return [(side.source.read(int(at)), label) for at, label in zip(side.indices, side.labels, strict=True)]

    one, other = some(list(range(COUNT))), some(order)
    assert len(one) == min(most, COUNT)
    assert sorted(pairs(one)) == sorted(pairs(other))
    assert all(text[:3] == label for text, label in pairs(other))


def test_some_are_some_of_more_and_hang_on_the_seed() -> None:
    side = Side(open_source(words(200)), np.arange(200))
    few, more = set(side.some(20).indices.tolist()), set(side.some(60).indices.tolist())
    assert few < more
    assert few != set(side.some(20, seed=1).indices.tolist())
    # Of part of a source those of them that would be taken of all.
    part = Side(side.source, np.array(sorted(more)))
    assert set(part.some(20).indices.tolist()) == few


def test_what_cannot_be_read_is_left_out_with_its_label(tmp_path: Path) -> None:
    for number, one in enumerate(shades(6)):
        one.save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"broken")
    side = Side(open_source(str(tmp_path)), np.array([1, 2, 4]), ["a", "b", "c"]).readable()
    assert side.indices.tolist() == [1, 4]
    assert side.labels == ["a", "c"]
    assert [one.tobytes() for block in side.blocks() for one in block] == [
        one.tobytes() for one in of_list(shades(6), [1, 4])
    ]
    whole = Side(open_source(rows()), np.arange(4))
    assert whole.readable() is whole


def test_the_hit_are_left_out_with_their_labels() -> None:
    side = Side(open_source(words(5)), np.array([0, 2, 3]), ["a", "b", "c"])
    for hits in (np.array([False, True, False]), [False, True, False]):
        left = without(side, hits)
        assert left.indices.tolist() == [0, 3]
        assert left.labels == ["a", "c"]
    assert len(without(side, [True] * 3)) == 0


# Overlap


def test_fingerprints_are_of_the_item_alone() -> None:
    texts = ["abc", "a much longer text that takes more symbols than the others do", "", "abc", "abd"]
    codec = TextCodec.fit([[*texts, *words()]], Tokens)
    together = fingerprints(codec, iter([texts]))
    apart = fingerprints(codec, iter([[one] for one in texts]))
    assert together.tolist() == apart.tolist()
    assert together[0] == together[3]
    assert len(set(together.tolist())) == 4
    pictures = ImageCodec.fit([shades()], Continuous)
    blocks = [shades(), [one.convert("RGB") for one in shades()]]  # the same grey pictures
    found = fingerprints(pictures, iter(blocks)).reshape(2, COUNT)
    assert found[0].tolist() == found[1].tolist()
    assert len(set(found[0].tolist())) == COUNT
    assert len(fingerprints(pictures, iter([]))) == 0
    table = TableCodec.fit([rows()], Tokens)
    assert len(set(fingerprints(table, iter([rows(), rows()])).tolist())) == COUNT


class Relative(Extractor[Any]):
    """Features that hang on what else is in the batch, as the last bits of all do."""

    name, modality, at_once = "relative", "image", 7

    def features(self, items: Any) -> torch.Tensor:
        x = torch.from_numpy(np.stack([np.asarray(one) for one in items])).flatten(1).float()
        return x - x.mean(0)


def test_features_do_not_hang_on_the_order_in_which_items_come() -> None:
    codec, items = ImageCodec.fit([shades()], Continuous), shades()
    labels = [str(at) for at in range(COUNT)]
    one = _sample(Relative(), codec, items, labels)
    order = np.random.default_rng(1).permutation(COUNT).tolist()
    other = _sample(Relative(), codec, of_list(items, order), of_list(labels, order))
    assert torch.equal(one.features, other.features)
    assert one.labels == other.labels
    assert [np.asarray(a).tolist() for a in one.items] == [np.asarray(a).tolist() for a in other.items]


@settings(max_examples=60, deadline=None)
@given(items=st.lists(st.integers(0, 20), max_size=30), train=st.lists(st.integers(0, 20), max_size=60))
def test_overlap_counts_items_that_are_there(items: list[int], train: list[int]) -> None:
    found = overlap(np.array(items, dtype=np.uint64), np.array(train, dtype=np.uint64))
    assert found.hits.tolist() == [one in train for one in items]
    assert found.count == sum(one in train for one in items)
    twins = sum(train.count(one) > 1 for one in train) / max(1, len(train))
    assert found.expected == pytest.approx(twins * len(items))


def test_twins_by_nature_are_no_smuggling_and_more_are() -> None:
    def drawn(count: int, seed: int, kinds: int = 3000) -> Any:
        return np.random.default_rng(seed).integers(0, kinds, count).astype(np.uint64)

    natural = [overlap(drawn(400, seed), drawn(2000, seed + 500)) for seed in range(100)]
    assert min(one.count for one in natural) > 100
    assert np.mean([one.count for one in natural]) == pytest.approx(
        np.mean([one.expected for one in natural]), rel=0.03
    )
    assert sum(one.smuggled for one in natural) <= 2
    train = drawn(2000, 0)
    assert overlap(np.concatenate([drawn(200, 1), train[:200]]), train).smuggled
    assert not Overlap(np.array([True] * 3 + [False] * 90), 0).smuggled
    assert Overlap(np.array([True] * 4 + [False] * 90), 0).smuggled


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
    assert excerpts(items, [long, *corpus[4:]]).tolist() == [True, True, False, False, False]
    with pytest.raises(UserError, match="the corpus is empty"):
        excerpts(items, [])


@pytest.fixture
def model(tmp_path: Path) -> Pipeline:
    """Of a folder of thirty pictures in two classes, every fourth held out."""
    for number, one in enumerate(shades()):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        one.save(path)
    source = open_source(str(tmp_path / "photos"))
    codec = ImageCodec.fit([shades()], Continuous)
    return replaying(
        tmp_path / "model", source, codec, shades(), list(range(0, COUNT, 4)), spec=str(tmp_path / "photos")
    )


def test_the_sides_are_what_was_held_out_and_all_else(model: Pipeline) -> None:
    found = sides(model)
    assert found.real.indices.tolist() == list(range(0, COUNT, 4))
    assert found.train is not None
    assert found.train.indices.tolist() == [at for at in range(COUNT) if at % 4]
    assert found.real.labels == ["a"] * 4 + ["b"] * 4
    assert set(found.train.labels or []) == {"a", "b"}
    assert (found.why, found.label) == ("", "label")


def test_what_told_which_weights_are_best_is_known_and_not_trained_on(model: Pipeline) -> None:
    assert model.folder is not None
    split = json.loads((model.folder / "split.json").read_text())
    (model.folder / "split.json").write_text(json.dumps(split | {"validation": [1, 2]}))
    found = sides(model)
    assert found.train is not None
    assert found.known is not None
    assert found.train.indices.tolist() == [at for at in range(3, COUNT) if at % 4]
    assert found.known.indices.tolist() == [at for at in range(COUNT) if at % 4]


def test_training_items_are_parted_and_no_class_is_lost() -> None:
    source = open_source((shades(60), ["a"] * 57 + ["b"] * 3))
    side = Side(source, np.arange(60), source.columns["label"])
    for count in (5, 19):
        few = Side(source, np.arange(count), ["a"] * count)
        assert [one is few for one in parted(few, 100)] == [True, True]
    fresh, basis = parted(side, 100)
    assert sorted([*fresh.indices.tolist(), *basis.indices.tolist()]) == list(range(60))
    assert 27 <= len(fresh) <= 30
    assert set(basis.labels or []) == {"a", "b"}
    fresh, _ = parted(Side(source, np.arange(60)), 7)
    assert len(fresh) == 7
    for at in range(60):  # one item of its class
        labels = ["a"] * 60
        labels[at] = "b"
        assert "b" in (parted(Side(source, np.arange(60), labels), 100)[1].labels or [])


def test_a_side_of_one_class_has_no_labels(model: Pipeline, tmp_path: Path) -> None:
    assert sides(model, data=str(tmp_path / "photos")).real.labels is not None
    assert sides(model, data=str(tmp_path / "photos" / "a")).real.labels is None
    with pytest.raises(UserError, match="unknown column 'nothing'; known: label"):
        sides(model, label="nothing")


def test_a_source_that_changed_is_refused_unless_there_is_other_data(model: Pipeline, tmp_path: Path) -> None:
    shades(1, seed=5)[0].save(tmp_path / "photos" / "a" / "new.png")
    with pytest.raises(UserError, match=r"is not what the model was fitted to: .* restore it, or give --data"):
        sides(model)
    found = sides(model, data=shades(9, seed=6))
    assert len(found.real) == 9
    assert found.train is None
    assert "is not what the model was fitted to" in found.why
    # Who names the source is told that it is another.
    with pytest.raises(UserError, match="and no --source"):
        sides(model, data=shades(9, seed=6), source=str(tmp_path / "photos"))


def test_a_source_that_is_gone_is_asked_for(model: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"there is no file or folder .*; give --source, where it is now, or --data"):
        sides(model)
    moved = sides(model, source=str(tmp_path / "moved"))
    assert len(moved.real) == 8
    assert sides(model, data=shades(9, seed=6)).train is None
    with pytest.raises(UserError, match="no file or folder"):
        sides(model, data=shades(9, seed=6), source=str(tmp_path / "photos"))


def test_without_a_split_or_a_held_out_part_there_must_be_data(model: Pipeline) -> None:
    assert model.folder is not None
    file = model.folder / "split.json"
    split = json.loads(file.read_text())
    file.write_text(json.dumps(split | {"held_out": []}))
    with pytest.raises(UserError, match="was held out, for it is too small; give --data"):
        sides(model)
    file.write_text(json.dumps(split | {"spec": None}))
    with pytest.raises(UserError, match="was given in memory; give --source"):
        sides(model)
    file.unlink()
    with pytest.raises(UserError, match=r"no split\.json"):
        sides(model)
    assert len(sides(model, data=shades(9, seed=6)).real) == 9


# Extractors


def network(seed: int = 0) -> Cnn:
    torch.manual_seed(seed)
    return Cnn(Network(1, 6, 3), 1, 6, ["a", "b", "c"])


MADE: dict[str, tuple[Callable[[], Extractor[Any]], Callable[[], Any]]] = {
    "image": (network, shades),
    "table": (lambda: of_rows.own([rows()], None, codec=TableCodec.fit([rows()], Tokens), seed=0), rows),
    "text": (Grams, words),
}


@pytest.mark.parametrize("modality", MADE)
def test_an_extractor_that_was_saved_comes_back(modality: str, tmp_path: Path) -> None:
    make, items = MADE[modality]
    extractor = make()
    save(extractor, tmp_path / "deep" / "extractor")
    again = restored(tmp_path / "deep" / "extractor")
    assert (again.name, again.modality, again.classes) == (extractor.name, modality, extractor.classes)
    assert torch.equal(again.features(items()), extractor.features(items()))
    record = json.loads((tmp_path / "deep" / "extractor" / "extractor.json").read_text())
    assert (record["modality"], record["name"]) == (modality, extractor.name)


def without_tensors(folder: Path) -> None:
    (folder / "extractor.safetensors").unlink()


def cut(folder: Path) -> None:
    file = folder / "extractor.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def other_numbers(folder: Path) -> None:
    tensors = load_file(folder / "extractor.safetensors")
    save_file({name: value + 1 for name, value in tensors.items()}, folder / "extractor.safetensors")


def rewritten(**changed: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        record = json.loads((folder / "extractor.json").read_text())
        (folder / "extractor.json").write_text(json.dumps(record | changed))

    return write


def broken(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "extractor.json").write_text(text) and None


DAMAGED: dict[str, Callable[[Path], None]] = {
    "without its tensors": without_tensors,
    "cut": cut,
    "of other numbers": other_numbers,
    "no JSON": broken("{"),
    "a list": broken("[]"),
    "without a word": broken("{}"),
    "without a file": lambda folder: (folder / "extractor.json").unlink(),
    "without settings": rewritten(settings=None),
    "of other settings": rewritten(settings={"channels": "one"}),
    "of settings that are a list": rewritten(settings=[1]),
    "of another name": rewritten(name="classifier-00000000"),
    "of a modality that nobody knows": rewritten(modality="imgae"),
    "of another modality": rewritten(modality="text"),
}


@pytest.mark.parametrize("modality", ["image", "table"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_an_extractor_that_is_damaged_is_refused(damage: str, modality: str, tmp_path: Path) -> None:
    save(MADE[modality][0](), tmp_path)
    DAMAGED[damage](tmp_path)
    with pytest.raises(UserError, match=r"remove the folder|damaged|is missing|did you mean 'image'|known: grams-256"):
        restored(tmp_path)


def choose(model: Pipeline, name: Any = None, weights: Any = None, kept: Path | None = None) -> Extractor[Any]:
    return chosen(
        name, weights, pipeline=model, kept=kept, blocks=iter([shades()]), labels=None, codec=model.codec, seed=0
    )


def test_an_extractor_is_trained_once_and_kept(
    model: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("morphogen.modalities.image.features._FEWEST", 2)
    first = choose(model, kept=tmp_path / "kept")
    again = chosen(
        "own", None, pipeline=model, kept=tmp_path / "kept", blocks=iter([]), labels=None, codec=model.codec, seed=9
    )
    assert again.name == first.name
    assert choose(model, tmp_path / "kept").name == first.name
    other = chosen(
        "own",
        None,
        pipeline=model,
        kept=tmp_path / "kept",
        blocks=iter([shades(20, seed=3)]),
        labels=None,
        codec=model.codec,
        seed=0,
        trained_on="other items",
    )
    assert other.name != first.name  # it has not seen these
    assert seen_by(tmp_path / "kept") == "other items"


def test_extractors_that_do_not_fit_are_refused(model: Pipeline, tmp_path: Path) -> None:
    save(Grams(), tmp_path / "texts")
    with pytest.raises(UserError, match="the extractor grams-256 reads text, and the model makes image"):
        choose(model, tmp_path / "texts")
    with pytest.raises(UserError, match=r"minilm reads text, and the model makes image"):
        choose(model, "minilm")
    with pytest.raises(UserError, match=r"'inceptoin' is no extractor; expected own, .*inception-2015"):
        choose(model, "inceptoin")
    with pytest.raises(UserError, match="--extractor-weights belongs to a pretrained extractor"):
        choose(model, None, tmp_path / "weights.pth")


# Columns


def test_columns_have_the_shape_and_trend_of_their_table() -> None:
    random = np.random.default_rng(0)

    def drawn(count: int) -> Any:
        a = random.normal(size=count)
        hours = random.integers(0, 86_400, count).astype(np.int32)
        return arrow.table(
            {
                "a": a,
                "b": a + random.normal(size=count),
                "c": np.where(a > 0, "high", "low"),
                "at": arrow.array(hours).cast(arrow.time32("s")),
                "day": arrow.array(hours // 1000).cast(arrow.date32()),
                "gone": arrow.nulls(count, arrow.float64()),
            }
        )

    real, synthetic = drawn(400), drawn(300)
    found = tables.columns(real, synthetic)
    assert list(found) == real.column_names
    assert np.mean([shape for shape, _ in found.values()]) == pytest.approx(tables.shape(real, synthetic))
    assert found["a"][0] > 0.85
    assert found["gone"][0] == 1
    for name, (shape, trend) in tables.columns(real, real).items():
        assert shape == 1
        assert trend == pytest.approx(1), name
    alone = tables.columns(real.select(["a"]), synthetic.select(["a"]))
    assert alone["a"] == (found["a"][0], None)
    permuted = synthetic.set_column(1, "b", synthetic.column("b").take(random.permutation(300)))
    lost = {name: found[name][1] - trend for name, (_, trend) in tables.columns(real, permuted).items()}  # type: ignore[operator]
    assert max(lost, key=lambda name: lost[name]) == "b"
    with pytest.raises(UserError, match="compare tables of the same"):
        tables.columns(real, synthetic.select(["a"]))


# The verdict


def figure(value: float, ceiling: float | None = 1.0, floor: float | None = 11.0) -> Figure:
    return Figure(
        name="FD[x]",
        key="frechet",
        group="likeness",
        value=value,
        ceiling=ceiling,
        floor=floor,
        better="lower",
        real=9,
        generated=9,
        seed=0,
        meaning="",
    )


def check(name: str, found: bool, fault: bool = True) -> Check:
    return Check(name=name, found=found, fault=fault, says=f"{name} was {'' if found else 'not '}seen.")


def test_a_verdict_says_faults_first() -> None:
    checks = [check("told", True, fault=False), check("copies", True), check("repeats", False)]
    said = verdict(checks, [figure(2)], real=1234)
    assert said.startswith("1 fault found: copies. copies was seen. told was seen.")
    assert "repeats" not in said
    assert "10.0% of the way" in said
    assert verdict([*checks, check("more", True)], [], real=9).startswith("2 faults found: copies, more.")


def test_a_verdict_without_faults_says_what_was_looked_for() -> None:
    checks = [check("told", False, fault=False), check("copies", False), check("repeats", False)]
    said = verdict(checks, [], real=1234)
    assert said.startswith(
        "No fault was found of 2 that were looked for. Generated items cannot be told from real ones"
    )
    assert "1,234 held-out items" in said
    assert verdict([], [], real=9).startswith("It could not be judged")
    assert verdict([], [], real=9, shifted="held-out items differ").endswith("Held-out items differ.")


@pytest.mark.parametrize(("value", "said"), [(0.5, "0.0%"), (1, "0.0%"), (6, "50.0%"), (31, "300.0%")])
def test_where_a_distance_stands(value: float, said: str) -> None:
    assert f"at {said} of the way" in verdict([], [figure(value)], real=9)


@pytest.mark.parametrize("bounds", [(None, 3.0), (1.0, None), (3.0, 3.0), (4.0, 3.0)])
def test_without_a_ceiling_below_a_floor_it_stands_nowhere(bounds: tuple[float | None, float | None]) -> None:
    assert "of the way" not in verdict([], [figure(2, *bounds)], real=9)
