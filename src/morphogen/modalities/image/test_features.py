"""Features of pictures, the trained extractor, the independent baseline, and plain properties."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from morphogen.core.errors import UserError
from morphogen.core.space import Grid, Tokens
from morphogen.data.sources import open_source
from morphogen.modalities.image import features
from morphogen.modalities.image.codec import ImageCodec
from morphogen.modalities.image.features import (
    Cnn,
    Network,
    as_seen,
    fit_extractor,
    independent_baseline,
    planes,
    properties,
    restore_extractor,
)
from morphogen.modalities.image.options import Options

DIGITS = open_source("digits")
PICTURES = [DIGITS.read(index) for index in range(500)]
LABELS = list(DIGITS.columns["label"][:500])
CODEC = ImageCodec.fit([PICTURES], Grid)


@pytest.fixture(scope="module", autouse=True)
def short():
    """Few steps: most of what is tested here does not hang on how well the network sees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "_FEWEST", 10)
        yield


def trained(labels=True, seed=0, count=40):
    return fit_extractor(
        [PICTURES[:25], PICTURES[25:count]], LABELS[:count] if labels else None, codec=CODEC, seed=seed
    )


@pytest.fixture(scope="module")
def classifier():
    return trained()


@pytest.fixture(scope="module")
def contrastive():
    return trained(labels=False)


@pytest.fixture(params=["classifier", "contrastive"])
def extractor(request):
    return request.getfixturevalue(request.param)


def noise(size, mode="RGB", seed=0):
    (height, width), random = size, np.random.default_rng(seed)
    if mode == "I;16":
        return Image.fromarray(random.integers(0, 65536, (height, width), dtype=np.uint16))
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)


def test_features_are_those_of_each_picture_alone(extractor, monkeypatch):
    items = PICTURES[100:117]
    together = extractor.features(items)
    assert together.shape == (17, 64)
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    alone = torch.cat([extractor.features([item]) for item in items])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together.flip(0), extractor.features(items[::-1]), atol=1e-5)
    monkeypatch.setattr(features, "_AT_ONCE", 5)
    assert torch.allclose(together, extractor.features(items), atol=1e-5)
    assert len(together.unique(dim=0)) == 17
    assert extractor.features([]).shape == (0, 64)


def test_what_was_kept_comes_back(extractor):
    config, tensors = extractor.state()
    again = restore_extractor(json.loads(json.dumps(config)), {name: value.clone() for name, value in tensors.items()})
    assert again.name == extractor.name
    assert (again.channels, again.side, again.classes) == (1, 8, extractor.classes)
    assert torch.equal(again.features(PICTURES[:9]), extractor.features(PICTURES[:9]))
    tensors = {name: value.clone() for name, value in tensors.items()}
    tensors["features.1.bias"][3] += 1e-6
    assert restore_extractor(config, tensors).name != extractor.name


def test_one_seed_and_data_make_one_name(classifier, contrastive):
    state = torch.random.get_rng_state()
    assert trained().name == classifier.name
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's numbers are drawn
    others = {trained(seed=1).name, trained(count=41).name, classifier.name, contrastive.name}
    assert len(others) == 4
    assert classifier.name.startswith("classifier-")
    assert contrastive.name.startswith("contrastive-")


def test_probabilities_are_those_of_classes(classifier):
    p = classifier.probabilities(PICTURES[:50])
    assert classifier.classes == tuple("0123456789")
    assert p.shape == (50, 10)
    assert (p >= 0).all()
    assert torch.allclose(p.sum(1), torch.ones(50), atol=1e-5)


def test_a_classifier_knows_pictures_that_it_has_not_seen(monkeypatch):
    monkeypatch.setattr(features, "_FEWEST", 60)
    extractor = fit_extractor([PICTURES[:300]], LABELS[:300], codec=CODEC, seed=0)
    predicted = [extractor.classes[at] for at in extractor.probabilities(PICTURES[300:]).argmax(1).tolist()]
    assert np.mean([one == other for one, other in zip(predicted, LABELS[300:], strict=True)]) > 0.8


@pytest.mark.parametrize(
    "labels",
    [[""] * 40, ["a"] * 40, ["a"] * 30 + [""] * 10, ["a", "b"] * 4 + [""] * 32],
    ids=["none", "one class", "one class and some without", "fewer than ten labelled"],
)
def test_without_classes_pictures_are_told_from_each_other(labels, contrastive):
    extractor = fit_extractor([PICTURES[:40]], labels, codec=CODEC, seed=0)
    assert extractor.classes == ()
    assert extractor.name == contrastive.name


def test_pictures_without_a_label_are_no_class():
    extractor = fit_extractor([PICTURES[:40]], ["a", "b", "", "b"] * 10, codec=CODEC, seed=0)
    assert extractor.classes == ("a", "b")
    fewer = [picture for at, picture in enumerate(PICTURES[:40]) if at % 4 != 2]
    assert extractor.name == fit_extractor([fewer], ["a", "b", "b"] * 10, codec=CODEC, seed=0).name


@pytest.mark.parametrize("chunks", [[], [[]], [PICTURES[:4], PICTURES[4:9]]])
def test_too_few_pictures_are_counted(chunks):
    with pytest.raises(UserError, match=f"at least 10 training pictures; found {sum(map(len, chunks))}"):
        fit_extractor(chunks, None, codec=CODEC, seed=0)


@pytest.mark.parametrize(("size", "requested_size"), [((4, 5), None), ((70, 40), None), ((9, 30), 4)])
def test_pictures_of_any_size_train_and_are_seen(size, requested_size, monkeypatch):
    monkeypatch.setattr(features, "_FEWEST", 2)
    pictures = [noise(size, seed=seed) for seed in range(12)]
    codec = ImageCodec.fit([pictures], Grid, Options(size=requested_size))
    pictures = as_seen(pictures, codec)
    for labels in (None, ["a", "b"] * 6):
        extractor = fit_extractor([pictures], labels, codec=codec, seed=0)
        assert (extractor.channels, extractor.side) == (3, min(64, requested_size or max(size)))
        assert extractor.features(pictures).isfinite().all()


def test_an_untrained_network_reads_any_mode():
    extractor = Cnn(Network(3, 16, 64), 3, 16, [])
    items = [noise((16, 16), mode) for mode in ("RGB", "L", "RGBA", "1", "P", "I;16")]
    assert extractor.features(items).shape == (6, 64)


# Planes


def test_planes_are_the_pixels():
    colour, grey, deep = noise((4, 6)), noise((4, 6), "L"), noise((4, 6), "I;16")
    x = planes([colour, grey, deep], 3)
    assert x.shape == (3, 3, 4, 6)
    assert torch.equal(x[0], torch.from_numpy(np.asarray(colour).transpose(2, 0, 1) / np.float32(255)))
    assert torch.equal(x[1, 0], torch.from_numpy(np.asarray(grey) / np.float32(255)))
    assert torch.equal(x[1, 0], x[1, 2])
    assert x[2, 1].numpy() == pytest.approx(np.asarray(deep) / 65535, abs=1e-6)
    assert planes([grey], 1, 8).shape == (1, 1, 8, 8)
    assert planes([], 1).shape[0] == 0


def test_pictures_of_different_sizes_are_refused_by_their_sizes():
    with pytest.raises(UserError, match="different sizes cannot be compared: 6x4, 4x6; bring them to one size"):
        planes([noise((4, 6)), noise((6, 4))], 3)


# The independent baseline


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 20),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    mode=st.sampled_from(["L", "RGB", "I;16"]),
    seed=st.integers(0, 99),
)
def test_the_baseline_has_the_marginal_of_each_pixel(count, size, mode, seed):
    items = [noise(size, mode, seed=seed + number) for number in range(count)]
    baseline = independent_baseline(items, seed)
    assert [(one.mode, one.size) for one in baseline] == [(mode, size[::-1])] * count
    sides = [
        np.stack([np.asarray(one) for one in side]).reshape(count, size[0] * size[1], -1) for side in (items, baseline)
    ]
    for at in range(size[0] * size[1]):
        one, other = (Counter(map(tuple, side[:, at].tolist())) for side in sides)
        assert one == other
    assert [one.tobytes() for one in baseline] == [one.tobytes() for one in independent_baseline(items, seed)]


def test_pixels_of_the_baseline_are_independent():
    shades = np.linspace(0, 255, 400).astype(np.uint8)
    items = [Image.fromarray(np.full((3, 3), shade)) for shade in shades]  # all nine pixels are one
    x = np.stack([np.asarray(one).ravel() for one in independent_baseline(items, 0)])
    correlations = np.corrcoef(x.T)[~np.eye(9, dtype=bool)]
    assert np.abs(correlations).max() < 4 / 20
    assert independent_baseline(items, 0)[0].tobytes() != independent_baseline(items, 1)[0].tobytes()


# Real pictures as the model would generate them


@pytest.mark.parametrize("kind", [Grid, Tokens])
def test_pictures_of_the_models_kind_are_seen_as_they_are(kind):
    codec = ImageCodec.fit([PICTURES], kind, Options(levels=4) if kind is Tokens else None)
    converted = as_seen(PICTURES[:20], codec)
    assert [one.tobytes() for one in converted] == [one.tobytes() for one in PICTURES[:20]]  # in all their shades
    assert as_seen([], codec) == []


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_pictures_are_seen_at_the_models_size_and_mode(mode):
    codec = ImageCodec.fit([[noise((8, 12), mode, seed) for seed in range(5)]], Grid)
    items = [
        noise((8, 12), mode),
        noise((16, 24), "RGB"),
        noise((30, 30), "L"),
        noise((9, 7), "RGBA"),
        noise((8, 12), "I;16"),
    ]
    converted = as_seen(items, codec)
    assert {(one.mode, one.size) for one in converted} == {(mode, (12, 8))}
    assert converted[0].tobytes() == items[0].tobytes()
    assert planes(converted, 3).shape == (5, 3, 8, 12)


# Plain properties


def test_properties_by_hand():
    grey = Image.fromarray(np.full((4, 4), 51, dtype=np.uint8))
    board = Image.fromarray((np.indices((4, 4)).sum(0) % 2 * 255).astype(np.uint8))
    values_by_property = {name: values.tolist() for name, values in properties([grey, board]).items()}
    assert set(values_by_property) == {"brightness", "contrast", "sharpness"}
    assert values_by_property["brightness"] == pytest.approx([0.2, 0.5])
    assert values_by_property["contrast"] == pytest.approx([0, 0.5])
    assert values_by_property["sharpness"] == pytest.approx([0, 2])
    red = Image.new("RGB", (3, 3), (255, 0, 0))
    assert properties([red, red.convert("L").convert("RGB")])["colourfulness"].tolist() == [1, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 2)])
def test_properties_are_numbers_at_any_size(size):
    for values in properties([noise(size, seed=seed) for seed in range(3)]).values():
        assert values.shape == (3,)
        assert np.isfinite(values).all()
