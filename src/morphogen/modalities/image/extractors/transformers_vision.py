"""DINOv2 and CLIP: published networks of pictures, through `transformers`; DINOv2 also from facebookresearch's file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from morphogen.core.errors import UserError
from morphogen.core.extractor import Extractor
from morphogen.nn.pretrained import PublishedModel, read_settings, read_tensors, sha256

from ._rgb import as_rgb

_AT_ONCE = 16
_PREPARATION = "preprocessor_config.json"
# The networks of published figures: FD-DINOv2 (Stein et al. 2023), and the CLIP that is cited most.
DINOV2 = PublishedModel(
    name="dinov2",
    identifier="facebook/dinov2-large",
    classes={"dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel"},
    files=(_PREPARATION,),
    alternative="the file dinov2_vitl14_pretrain.pth of facebookresearch",
)
CLIP = PublishedModel(
    name="clip",
    identifier="openai/clip-vit-large-patch14",
    classes={"clip": "CLIPModel"},
    files=(_PREPARATION,),
)


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes `(3, H, W)`: resized with anti-aliasing, centre-cropped, normalised."""

    size: int | tuple[int, int]  # the shorter side, or height and width
    crop: tuple[int, int] | None
    mean: Sequence[float] = (0.485, 0.456, 0.406)  # of ImageNet
    std: Sequence[float] = (0.229, 0.224, 0.225)
    scale: float = 1 / 255
    resample: int = Image.Resampling.BICUBIC

    def __call__(self, image: Image.Image) -> Tensor:
        image = as_rgb(image)
        if isinstance(self.size, int):
            shorter = min(image.size)
            width, height = (int(self.size * side / shorter) for side in image.size)
        else:
            height, width = self.size
        image = image.resize((width, height), Image.Resampling(self.resample))
        if self.crop is not None:
            left, top = (width - self.crop[1]) // 2, (height - self.crop[0]) // 2
            image = image.crop((left, top, left + self.crop[1], top + self.crop[0]))
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1) * self.scale
        return (x - torch.tensor(self.mean).view(3, 1, 1)) / torch.tensor(self.std).view(3, 1, 1)


# As facebookresearch's weights are used in dgm-eval (Stein et al. 2023): the whole picture, stretched to a square.
_SQUARE = Preparation(size=(224, 224), crop=None)


class PublishedEmbedding(Extractor[Sequence[Image.Image]]):
    """Embeddings of pictures of any size and mode: prepared one by one, embedded in small batches."""

    modality = "image"

    def __init__(self, name: str, prepare: Preparation, embed: Callable[[Tensor], Tensor], width: int) -> None:
        self.name, self._prepare, self._embed, self._width = name, prepare, embed, width

    @torch.no_grad()
    def features(self, items: Sequence[Image.Image]) -> Tensor:
        batches = [items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE)]
        parts = [self._embed(torch.stack([self._prepare(item) for item in batch])) for batch in batches]
        return torch.cat(parts) if parts else torch.empty(0, self._width)


def open_dinov2(weights: Path | str | None) -> PublishedEmbedding:
    """Return DINOv2 (Oquab et al. 2024): the class token after the last normalisation.

    Raises UserError without the package, the weights or the network, and where the weights do not fit.
    """
    if weights is not None and Path(weights).suffix in (".pth", ".safetensors"):
        model, name = _facebook(Path(weights))
        return PublishedEmbedding(name, _SQUARE, lambda x: model(x).last_hidden_state[:, 0], model.config.hidden_size)
    folder, model, name = DINOV2.load(weights)
    # The default where the file is absent: what facebook/dinov2-* have on the Hub.
    prepare = _preparation(folder, Preparation(size=256, crop=(224, 224)))
    return PublishedEmbedding(name, prepare, lambda x: model(x).last_hidden_state[:, 0], model.config.hidden_size)


def open_clip(weights: Path | str | None) -> PublishedEmbedding:
    """Return CLIP (Radford et al. 2021): the image embedding, not normalised. Raises UserError as `open_dinov2`."""
    folder, model, name = CLIP.load(weights)
    side = model.config.vision_config.image_size
    # The default where the file is absent: what openai/clip-* have on the Hub, at the size of this network.
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    prepare = _preparation(folder, Preparation(size=side, crop=(side, side), mean=mean, std=std))
    vision, projection = model.vision_model, model.visual_projection  # the text encoder is released
    return PublishedEmbedding(name, prepare, lambda x: projection(vision(x).pooler_output), projection.out_features)


def _preparation(folder: Path, default: Preparation) -> Preparation:
    """Return the preparation in preprocessor_config.json, or `default` where the file is absent."""
    path = folder / _PREPARATION
    if not path.exists():
        return default
    settings = read_settings(path)

    def sides(value: Any) -> int | tuple[int, int]:
        if isinstance(value, dict) and "shortest_edge" in value:
            value = value["shortest_edge"]
        return (int(value["height"]), int(value["width"])) if isinstance(value, dict) else int(value)

    try:
        size = sides(settings["size"]) if "size" in settings else default.size
        crop: Any = default.crop if isinstance(size, int) else None
        crop = sides(settings["crop_size"]) if "crop_size" in settings else crop
        crop = (crop, crop) if isinstance(crop, int) else crop
        crop = crop if settings.get("do_center_crop", True) else None
        mean, std = settings.get("image_mean", default.mean), settings.get("image_std", default.std)
        resample = Image.Resampling(settings.get("resample", default.resample))
        prepare = Preparation(size, crop, mean, std, float(settings.get("rescale_factor", default.scale)), resample)
        # Without a crop, pictures of other shapes would not fit into one batch.
        fits = (crop is not None or not isinstance(size, int)) and len(mean) == len(std) == 3
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits or not all(settings.get(f"do_{step}", True) for step in ("resize", "rescale", "normalize")):
        raise UserError(
            f"{path} is not understood; expected size, crop_size, image_mean and image_std that make pictures of one "
            "size, and no step switched off; remove the file to use the published settings"
        )
    return prepare


# facebookresearch's names of parameters, and those on the Hub.
_NAMES = (
    (r"^(cls|mask)_token$", r"embeddings.\1_token"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.", "encoder.layer."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
)
_HEAD = 64  # features of an attention head, in every size of DINOv2


def _facebook(path: Path) -> tuple[Any, str]:
    """Return DINOv2 from facebookresearch's file (dinov2_vits14_pretrain.pth and similar), and its name."""
    transformers = DINOV2.transformers()
    state = read_tensors(path, DINOV2.advice)
    if "register_tokens" in state:
        raise UserError(f"{path} is DINOv2 with registers; take the file without, or a folder of the Hub")
    if "blocks.0.mlp.w12.weight" in state:
        raise UserError(f"{path} is the giant DINOv2; take a smaller one, or facebook/dinov2-giant of the Hub")
    try:
        hidden, patch = state["cls_token"].shape[-1], state["patch_embed.proj.weight"].shape[-1]
        if hidden % _HEAD or 224 % patch:
            raise ValueError
        config = transformers.Dinov2Config(
            hidden_size=hidden,
            num_hidden_layers=1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks.")),
            num_attention_heads=hidden // _HEAD,
            mlp_ratio=state["blocks.0.mlp.fc1.weight"].shape[0] // hidden,
            image_size=224,
            patch_size=patch,
            use_mask_token="mask_token" in state,
        )
        state["pos_embed"] = _resize_positions(state["pos_embed"], 224 // patch)
        renamed = _renamed(state)
    except (KeyError, ValueError, IndexError, RuntimeError, ZeroDivisionError):
        raise UserError(f"{path} is not in facebookresearch's layout of DINOv2; {DINOV2.advice}") from None
    model = DINOV2.read(transformers.Dinov2Model, None, path, config=config, state_dict=renamed)
    return model, f"dinov2-{sha256(path)[:8]}"


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in state.items():
        for pattern, new in _NAMES:
            name = re.sub(pattern, new, name)
        if ".attn.qkv." in name:
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                renamed[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = third
        else:
            renamed[name] = value
    return renamed


def _resize_positions(embedding: Tensor, side: int) -> Tensor:
    """Return position embeddings `(1, 1 + old², d)` at `(1, 1 + side², d)`, as facebookresearch's hub code does.

    It adds 0.1 to the side (issue 8 of dino), which moves the sampling points; transformers does not.
    """
    old = math.isqrt(embedding.shape[1] - 1)
    if old == side:
        return embedding
    grid = embedding[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, scale_factor=(side + 0.1) / old, mode="bicubic")
    return torch.cat([embedding[:, :1], grid.flatten(2).transpose(1, 2)], 1)
