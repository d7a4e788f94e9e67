"""Pretrained extractors on random weights: the layouts of the published files, and what the peers compute from them."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from morphogen.core.errors import UserError
from morphogen.core.extractor import Extractor
from morphogen.core.judge import pretrained_names
from morphogen.core.modality import modalities, modality
from morphogen.modalities.image.extractors import inception_2015
from morphogen.modalities.image.extractors.inception_2015 import Inception2015, Network, open_inception, resized
from morphogen.modalities.image.extractors.transformers_vision import Preparation

NAMES = pretrained_names({one.name: one.judge() for one in modalities().values()})


def open_pretrained(name: str, weights: Path | str | None) -> Extractor[Any]:
    judge = modality(NAMES[name]).judge()
    assert judge is not None
    return judge.open_pretrained(name, weights)


def pictures(*sizes: tuple[int, int], seed: int = 0) -> list[Image.Image]:
    """Colour pictures of these sizes (H, W), smooth and so unlike each other."""
    random = np.random.default_rng(seed)
    coarse = [Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)) for _ in sizes]
    return [one.resize(size[::-1], Image.Resampling.BICUBIC) for one, size in zip(coarse, sizes, strict=True)]


# Inception


def inception_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = {name: value for name, value in Network().state_dict().items() if "num_batches" not in name}
    for name, value in state.items():
        if name.endswith("conv.weight"):
            value.normal_(0, (2 / value[0].numel()) ** 0.5)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.ndim == 1:
            value.add_(torch.randn_like(value), alpha=0.1)
    return state


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(inception_state(), path)
    return path


@pytest.fixture(scope="module")
def inception(inception_file: Path) -> Inception2015:
    return open_inception(inception_file)


def test_the_layout_of_inception_is_torch_fidelitys() -> None:
    layout = {name: tuple(value.shape) for name, value in inception_state().items()}
    assert len(layout) == 94 * 5 + 2
    assert layout["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert layout["Mixed_5b.branch_pool.bn.running_mean"] == (32,)
    assert layout["Mixed_6c.branch7x7dbl_3.conv.weight"] == (160, 160, 1, 7)
    assert layout["Mixed_7a.branch7x7x3_4.conv.weight"] == (192, 192, 3, 3)
    assert layout["Mixed_7c.branch3x3dbl_3b.conv.weight"] == (384, 384, 3, 1)
    assert layout["fc.weight"] == (1008, 2048)
    # Of the same lines made from torch-fidelity 0.4.0's FeatureExtractorInceptionV3, counters of batches left out.
    lines = "\n".join(f"{name} {layout[name]}" for name in sorted(layout))
    expected = "d84f693f2abd7fea61cb31c87d3b2f268bf707c1bae1db219afdad3363959cb0"
    assert hashlib.sha256(lines.encode()).hexdigest() == expected


def test_features_of_inception_depend_on_the_picture_alone(inception: Inception2015) -> None:
    items = pictures((28, 28), (64, 48), (299, 299))
    together = inception.features(items)
    assert together.shape == (3, 2048)
    assert together.dtype == torch.float32
    alone = torch.cat([inception.features([item]) for item in items])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5 * float(alone.abs().max()))
    assert float((together[0] - together[1]).abs().max()) > 0.01 * float(together.abs().max())
    assert inception.features([]).shape == (0, 2048)


def test_probabilities_of_inception_leave_the_bias_out(inception: Inception2015, inception_file: Path) -> None:
    items = pictures((40, 40), (50, 60))
    weight = torch.load(inception_file, weights_only=True)["fc.weight"]
    found = inception.probabilities(items)
    expected = (inception.features(items) @ weight.T).double().softmax(1)
    torch.testing.assert_close(found, expected)
    assert found.shape == (2, len(inception.classes)) == (2, 1008)


def test_inception_reads_pictures_of_every_mode(inception: Inception2015) -> None:
    grey = pictures((32, 32))[0].convert("L")
    sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * np.uint16(257))
    clear = grey.convert("RGBA")
    same = inception.features([grey, grey.convert("RGB"), sixteen, clear])
    torch.testing.assert_close(same, same[:1].expand(4, -1))


def test_a_damaged_picture_is_the_users_mistake(inception: Inception2015, tmp_path: Path) -> None:
    pictures((90, 90))[0].save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(UserError, match="damaged"):
        inception.features([image])


@pytest.mark.parametrize("size", [(28, 28), (7, 300), (299, 299), (301, 600), (1, 1)])
def test_the_resize_is_that_of_tensorflow_1(size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, *size)).astype(np.float32)
    expected = np.empty((3, 299, 299), np.float32)
    for row in range(299):
        for column in range(299):
            y, z = (np.float32(i) * np.float32(n / 299) for i, n in zip((row, column), size, strict=True))
            top, left = int(y), int(z)
            bottom, right = min(top + 1, size[0] - 1), min(left + 1, size[1] - 1)
            above = x[:, top, left] + (x[:, top, right] - x[:, top, left]) * (z - np.float32(left))
            below = x[:, bottom, left] + (x[:, bottom, right] - x[:, bottom, left]) * (z - np.float32(left))
            expected[:, row, column] = above + (below - above) * (y - np.float32(top))
    np.testing.assert_allclose(resized(torch.from_numpy(x)).numpy(), expected, rtol=0, atol=1e-4)


def test_other_weights_are_never_called_inception_2015(inception: Inception2015, inception_file: Path) -> None:
    digest = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    assert inception.name == f"inception-2015-{digest[:8]}"


def test_weights_of_inception_may_be_safetensors(inception: Inception2015, tmp_path: Path) -> None:
    save_file(inception_state(), tmp_path / "random.safetensors")
    items = pictures((20, 20))
    torch.testing.assert_close(
        open_inception(tmp_path / "random.safetensors").features(items), inception.features(items)
    )


def test_bad_weights_of_inception_are_named(inception_file: Path, tmp_path: Path) -> None:
    def refused(path: Path, *words: str) -> None:
        with pytest.raises(UserError) as caught:
            open_inception(path)
        for word in (str(path), "--extractor-weights PATH", inception_2015.URL, *words):
            assert word in str(caught.value)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "absent.pth", "no file")
    whole = inception_file.read_bytes()
    for suffix in (".pth", ".safetensors"):
        short = tmp_path / f"short{suffix}"
        short.write_bytes(whole[: len(whole) // 2])
        refused(short, "no readable file")
    torch.save([1, 2], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "list")
    torch.save({"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "other.pth")
    refused(tmp_path / "other.pth", "Conv2d_1a_3x3.conv.weight", "missing")
    torch.save({**inception_state(), "fc.bias": torch.zeros(1000)}, tmp_path / "thousand.pth")
    refused(tmp_path / "thousand.pth", "fc.bias", "(1000,)", "(1008,)")
    torch.save(Path("code"), tmp_path / "pickle.pth")
    refused(tmp_path / "pickle.pth", "no readable file")


def test_weights_of_inception_are_fetched_once_and_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inception_file: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = tmp_path / "morphogen" / "weights" / inception_2015.FILE

    def refused(*words: str) -> None:
        with pytest.raises(UserError) as caught:
            open_inception(None)
        assert all(word in str(caught.value) for word in ("--extractor-weights PATH", *words))
        assert not list(cached.parent.iterdir())

    monkeypatch.setattr(inception_2015, "URL", (tmp_path / "absent").as_uri())
    refused("could not be downloaded")
    monkeypatch.setattr(inception_2015, "URL", inception_file.as_uri())
    refused("SHA-256", inception_2015.DIGEST)
    monkeypatch.setattr(inception_2015, "DIGEST", hashlib.sha256(inception_file.read_bytes()).hexdigest()[:8])
    assert open_inception(None).name == "inception-2015"
    monkeypatch.setattr(inception_2015, "URL", (tmp_path / "absent").as_uri())
    assert open_inception(None).name == "inception-2015"
    assert cached.read_bytes() == inception_file.read_bytes()


# Through transformers


@pytest.fixture(scope="module")
def transformers() -> Any:
    module = pytest.importorskip("transformers")
    module.utils.logging.disable_progress_bar()
    return module


def saved(model: Any, folder: Path) -> Any:
    torch.manual_seed(0)
    for value in model.parameters():
        value.data.normal_(0, 0.2)
    model.eval().save_pretrained(folder)
    return model


def dinov2(transformers: Any, folder: Path, **settings: Any) -> Any:
    config = transformers.Dinov2Config(hidden_size=64, num_hidden_layers=2, num_attention_heads=1, **settings)
    return saved(transformers.Dinov2Model(config), folder)


def clip(transformers: Any, folder: Path) -> Any:
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**size, "image_size": 64, "patch_size": 16, "projection_dim": 24}
    text = {**size, "vocab_size": 99, "projection_dim": 24}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    return saved(transformers.CLIPModel(config), folder)


def normalised(image: Image.Image, mean: Tensor, std: Tensor) -> Tensor:
    return (torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 - mean[:, None, None]) / std[:, None, None]


IMAGENET = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
DINOV2_SAYS = {
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
}


@pytest.mark.parametrize("says", [None, DINOV2_SAYS], ids=["defaults", "preprocessor_config.json"])
@torch.no_grad()
def test_dinov2_of_a_folder(transformers: Any, tmp_path: Path, says: dict[str, Any] | None) -> None:
    model = dinov2(transformers, tmp_path, image_size=518)
    if says:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(says))
    extractor = open_pretrained("dinov2", tmp_path)
    items = pictures((64, 128), (300, 256))
    expected = []
    for item, (width, height) in zip(items, ((512, 256), (256, 300)), strict=True):
        middle = item.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - 224) // 2, (height - 224) // 2
        x = normalised(middle.crop((left, top, left + 224, top + 224)), *IMAGENET)
        expected.append(model(x[None]).pooler_output)
    torch.testing.assert_close(extractor.features(items), torch.cat(expected), rtol=1e-4, atol=1e-4)
    digest = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert extractor.name == f"dinov2-{digest[:8]}"
    assert extractor.features([]).shape == (0, 64)


CLIP = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])


@torch.no_grad()
def test_clip_of_a_folder(transformers: Any, tmp_path: Path) -> None:
    model = clip(transformers, tmp_path)
    items = pictures((96, 64), (64, 64))

    def agrees(x: Tensor) -> None:
        expected = model.get_image_features(pixel_values=x)
        expected = expected if isinstance(expected, Tensor) else expected.pooler_output  # in older versions
        found = open_pretrained("clip", str(tmp_path)).features(items)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

    agrees(torch.stack([normalised(items[0].crop((0, 16, 64, 80)), *CLIP), normalised(items[1], *CLIP)]))
    # Older files say plain numbers.
    old = {"size": 72, "crop_size": 64, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    half = torch.full((3,), 0.5)
    cut = [
        item.resize(size, Image.Resampling.BILINEAR).crop(box)
        for item, size, box in zip(items, ((72, 108), (72, 72)), ((4, 22, 68, 86), (4, 4, 68, 68)), strict=True)
    ]
    agrees(torch.stack([normalised(item, half, half) for item in cut]))


def test_pictures_are_prepared_as_transformers_does(transformers: Any) -> None:
    theirs = pytest.importorskip("transformers.models.clip.image_processing_pil_clip").CLIPImageProcessorPil()
    prepare = Preparation(size=224, crop=(224, 224), mean=CLIP[0].tolist(), std=CLIP[1].tolist())
    items = pictures((50, 91), (300, 223), (224, 224))
    ours = torch.stack([prepare(item) for item in items])
    torch.testing.assert_close(ours, torch.from_numpy(np.stack(theirs(items)["pixel_values"])), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_minilm_of_a_folder(transformers: Any, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "mat", "a"]
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=40, **size)
    model = saved(transformers.BertModel(config), tmp_path)
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=5)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 8}))

    extractor = open_pretrained("minilm", tmp_path)
    texts = ["the cat sat on the mat a cat", "", "a dog", "the mat"]
    ids = [[2, 4, 5, 6, 7, 4, 8, 3], [2, 3], [2, 9, 1, 3], [2, 4, 8, 3]]
    means = [model(input_ids=torch.tensor([one])).last_hidden_state.mean(1) for one in ids]
    found = extractor.features(texts)
    torch.testing.assert_close(found, functional.normalize(torch.cat(means)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(extractor.features(texts[1:2]), found[1:2], rtol=1e-4, atol=1e-5)
    assert extractor.features([]).shape == (0, 32)


def facebook(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a Dinov2Model as saved, under facebookresearch's names."""
    renamed = {
        "cls_token": state["embeddings.cls_token"],
        "mask_token": state["embeddings.mask_token"],
        "pos_embed": state["embeddings.position_embeddings"],
    }
    for kind in ("weight", "bias"):
        renamed[f"patch_embed.proj.{kind}"] = state[f"embeddings.patch_embeddings.projection.{kind}"]
        renamed[f"norm.{kind}"] = state[f"layernorm.{kind}"]
        for layer in range(2):
            mine, theirs = f"blocks.{layer}.", f"encoder.layer.{layer}."
            thirds = [state[f"{theirs}attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            renamed[f"{mine}attn.qkv.{kind}"] = torch.cat(thirds)
            renamed[f"{mine}attn.proj.{kind}"] = state[f"{theirs}attention.output.dense.{kind}"]
            for same in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                renamed[f"{mine}{same}.{kind}"] = state[f"{theirs}{same}.{kind}"]
    for layer in range(2):
        for number in "12":
            gamma = state[f"encoder.layer.{layer}.layer_scale{number}.lambda1"]
            renamed[f"blocks.{layer}.ls{number}.gamma"] = gamma
    return renamed


@torch.no_grad()
def test_dinov2_of_facebookresearchs_file(transformers: Any, tmp_path: Path) -> None:
    model = dinov2(transformers, tmp_path, image_size=224, mlp_ratio=2)
    state = facebook(load_file(tmp_path / "model.safetensors"))
    torch.save(state, tmp_path / "dinov2.pth")
    extractor = open_pretrained("dinov2", tmp_path / "dinov2.pth")
    items = pictures((64, 128), (224, 224))
    square = [normalised(item.resize((224, 224), Image.Resampling.BICUBIC), *IMAGENET) for item in items]
    expected = model(torch.stack(square)).pooler_output
    torch.testing.assert_close(extractor.features(items), expected, rtol=1e-4, atol=1e-4)

    # The published ones have places for 518 pixels; dividing by 16.1, not by 16, is what facebookresearch does.
    torch.manual_seed(0)
    state["pos_embed"] = 5 * torch.randn(1, 1 + 37 * 37, 64)
    save_file(state, tmp_path / "dinov2.safetensors")
    found = open_pretrained("dinov2", str(tmp_path / "dinov2.safetensors")).features(items)
    for divisor, alike in ((16.1, True), (16.0, False)):
        cubic = keys((torch.arange(16) + 0.5) * 37 / divisor - 0.5, 37)
        grid = torch.einsum("ia,jb,abd->ijd", cubic, cubic, state["pos_embed"][0, 1:].view(37, 37, 64))
        model.embeddings.position_embeddings.data = torch.cat([state["pos_embed"][:, :1], grid.reshape(1, 256, 64)], 1)
        expected = model(torch.stack(square)).pooler_output
        assert torch.allclose(found, expected, rtol=0, atol=1e-5) == alike, divisor


def keys(places: Tensor, length: int) -> Tensor:
    """Cubic interpolation (Keys 1981, a = -3/4) at `places` of cells 0 … length - 1, as a matrix."""
    matrix = torch.zeros(len(places), length)
    for row, place in enumerate(places.tolist()):
        for cell in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            t, a = abs(place - cell), -0.75
            near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
            matrix[row, min(max(cell, 0), length - 1)] += near if t <= 1 else far
    return matrix


def test_bad_weights_for_transformers_are_named(transformers: Any, tmp_path: Path) -> None:
    def refused(name: str, path: Path, *words: str) -> None:
        with pytest.raises(UserError) as caught:
            open_pretrained(name, path)
        assert all(word in str(caught.value) for word in (str(path), *words)), caught.value
        assert "\n" not in str(caught.value)

    refused("dinov2", tmp_path / "absent", "no folder", "--extractor-weights PATH", "facebook/dinov2-large")
    refused("dinov2", tmp_path, "config.json", "--extractor-weights PATH")
    refused("dinov2", tmp_path / "absent.pth", "no file", "--extractor-weights PATH")
    dinov2(transformers, tmp_path / "small", image_size=28)
    refused("clip", tmp_path / "small", "dinov2", "expected clip")
    refused("minilm", tmp_path / "small", "dinov2", "expected bert")
    weights = tmp_path / "small" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    refused("dinov2", tmp_path / "small", "--extractor-weights PATH")
    weights.write_bytes(whole)
    (tmp_path / "small" / "preprocessor_config.json").write_text(json.dumps({"size": {"longest_edge": 3}}))
    refused("dinov2", tmp_path / "small", "preprocessor_config.json")
    state = load_file(weights)
    del state["layernorm.bias"]
    save_file(state, weights, metadata={"format": "pt"})
    refused("dinov2", tmp_path / "small", "layernorm.bias")
    for name, tensor in (("register_tokens", "registers"), ("blocks.0.mlp.w12.weight", "giant"), ("head", "layout")):
        torch.save({name: torch.zeros(1)}, tmp_path / "other.pth")
        refused("dinov2", tmp_path / "other.pth", tensor)


def test_pictures_are_told_apart_by_dinov2(transformers: Any, tmp_path: Path) -> None:
    dinov2(transformers, tmp_path, image_size=28)
    features = open_pretrained("dinov2", tmp_path).features(pictures((30, 30), (30, 30)))
    assert float((features[0] - features[1]).abs().max()) > 1e-2


def test_names() -> None:
    assert NAMES == {"inception-2015": "image", "dinov2": "image", "clip": "image", "minilm": "text"}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"pip install 'morphogen\[pretrained\]'"):
        open_pretrained("dinov2", tmp_path)
