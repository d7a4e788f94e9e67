"""Pretrained extractors through transformers on random weights: what the peers compute from the same files.

Inception, which needs no transformers: tests/test_inception.py.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from items import smooth_pictures
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from morphogen.core.errors import UserError
from morphogen.core.extractor import Extractor
from morphogen.core.judge import pretrained_names
from morphogen.core.modality import modalities, modality
from morphogen.modalities.image.extractors.transformers_vision import Preparation

NAMES = pretrained_names({one.name: one.judge() for one in modalities().values()})


def open_pretrained(name: str, weights: Path | str | None) -> Extractor[Any]:
    judge = modality(NAMES[name]).judge()
    assert judge is not None
    return judge.open_pretrained(name, weights)


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
DINOV2_PREPROCESSING = {
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
}


@pytest.mark.parametrize("preprocessing", [None, DINOV2_PREPROCESSING], ids=["defaults", "preprocessor_config.json"])
@torch.no_grad()
def test_dinov2_of_a_folder(transformers: Any, tmp_path: Path, preprocessing: dict[str, Any] | None) -> None:
    model = dinov2(transformers, tmp_path, image_size=518)
    if preprocessing:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    extractor = open_pretrained("dinov2", tmp_path)
    items = smooth_pictures((64, 128), (300, 256))
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
    items = smooth_pictures((96, 64), (64, 64))

    def agrees(x: Tensor) -> None:
        expected = model.get_image_features(pixel_values=x)
        expected = expected if isinstance(expected, Tensor) else expected.pooler_output  # in older versions
        features = open_pretrained("clip", str(tmp_path)).features(items)
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)

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
    items = smooth_pictures((50, 91), (300, 223), (224, 224))
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
    features = extractor.features(texts)
    torch.testing.assert_close(features, functional.normalize(torch.cat(means)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(extractor.features(texts[1:2]), features[1:2], rtol=1e-4, atol=1e-5)
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
    items = smooth_pictures((64, 128), (224, 224))
    square = [normalised(item.resize((224, 224), Image.Resampling.BICUBIC), *IMAGENET) for item in items]
    expected = model(torch.stack(square)).pooler_output
    torch.testing.assert_close(extractor.features(items), expected, rtol=1e-4, atol=1e-4)

    # The published ones have places for 518 pixels; dividing by 16.1, not by 16, is what facebookresearch does.
    torch.manual_seed(0)
    state["pos_embed"] = 5 * torch.randn(1, 1 + 37 * 37, 64)
    save_file(state, tmp_path / "dinov2.safetensors")
    features = open_pretrained("dinov2", str(tmp_path / "dinov2.safetensors")).features(items)
    for divisor, alike in ((16.1, True), (16.0, False)):
        cubic = keys((torch.arange(16) + 0.5) * 37 / divisor - 0.5, 37)
        grid = torch.einsum("ia,jb,abd->ijd", cubic, cubic, state["pos_embed"][0, 1:].view(37, 37, 64))
        model.embeddings.position_embeddings.data = torch.cat([state["pos_embed"][:, :1], grid.reshape(1, 256, 64)], 1)
        expected = model(torch.stack(square)).pooler_output
        assert torch.allclose(features, expected, rtol=0, atol=1e-5) == alike, divisor


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
        with pytest.raises(UserError) as error:
            open_pretrained(name, path)
        assert all(word in str(error.value) for word in (str(path), *words)), error.value
        assert "\n" not in str(error.value)

    refused("dinov2", tmp_path / "absent", "no folder", "--extractor-weights PATH", "facebook/dinov2-large")
    refused("dinov2", tmp_path, "config.json", "--extractor-weights PATH")
    refused("dinov2", tmp_path / "absent.pth", "no file", "--extractor-weights PATH")
    dinov2(transformers, tmp_path / "small", image_size=28)
    refused("clip", tmp_path / "small", "dinov2", "expected clip")
    refused("minilm", tmp_path / "small", "dinov2", "expected bert")
    weights = tmp_path / "small" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    refused("dinov2", tmp_path / "small", "--extractor-weights PATH")
    weights.write_bytes(content)
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
    features = open_pretrained("dinov2", tmp_path).features(smooth_pictures((30, 30), (30, 30)))
    assert float((features[0] - features[1]).abs().max()) > 1e-2


def test_names() -> None:
    assert NAMES == {"inception-2015": "image", "dinov2": "image", "clip": "image", "minilm": "text"}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"pip install 'morphogen\[pretrained\]'"):
        open_pretrained("dinov2", tmp_path)
