"""Published networks through `transformers`: DINOv2 and CLIP for pictures, MiniLM for texts; CLAP for sound is not here
yet, as there is no modality of sound.

From a folder as the Hugging Face Hub has it (config.json, model.safetensors, preprocessor_config.json or
tokenizer.json) or by the Hub's id; DINOv2 also from facebookresearch's own file. No code and no pickle is executed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from morphogen.core.errors import UserError, needs_extra
from morphogen.core.extractor import Extractor

from .opening import coloured, digest, tensors

# The networks of the figures in print: FD-DINOv2 (Stein et al. 2023), and those most cited under the other names.
PUBLISHED = {
    "dinov2": "facebook/dinov2-large",
    "clip": "openai/clip-vit-large-patch14",
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
}
_CLASSES = {  # what may stand as model_type in config.json, and the class that reads it
    "dinov2": {"dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel"},
    "clip": {"clip": "CLIPModel"},
    "minilm": {"bert": "BertModel"},
}
_AT_ONCE = 16
_WEIGHTS, _PREPARATION = "model.safetensors", "preprocessor_config.json"
_TOKENS, _SENTENCES = "tokenizer.json", "sentence_bert_config.json"


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes `(3, H, W)`: resized with anti-aliasing, cut out of the middle, normalised."""

    size: int | tuple[int, int]  # the shorter side, or height and width
    crop: tuple[int, int] | None
    mean: Sequence[float] = (0.485, 0.456, 0.406)  # of ImageNet
    std: Sequence[float] = (0.229, 0.224, 0.225)
    scale: float = 1 / 255
    resample: int = Image.Resampling.BICUBIC

    def __call__(self, image: Image.Image) -> Tensor:
        image = coloured(image)
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


# As facebookresearch's weights are judged with in dgm-eval (Stein et al. 2023): the whole picture, square.
_SQUARE = Preparation(size=(224, 224), crop=None)


class Pictures(Extractor[Sequence[Image.Image]]):
    """Embeddings of pictures of any size and mode: prepared one by one, embedded a few at once."""

    modality = "image"

    def __init__(self, name: str, prepare: Preparation, embed: Callable[[Tensor], Tensor], width: int) -> None:
        self.name, self._prepare, self._embed, self._width = name, prepare, embed, width

    @torch.no_grad()
    def features(self, items: Sequence[Image.Image]) -> Tensor:
        parts = [items[at : at + _AT_ONCE] for at in range(0, len(items), _AT_ONCE)]
        found = [self._embed(torch.stack([self._prepare(item) for item in part])) for part in parts]
        return torch.cat(found) if found else torch.empty(0, self._width)


class Sentences(Extractor[Sequence[str]]):
    """Embeddings of texts: the mean over their tokens, of length one (Reimers & Gurevych 2019)."""

    modality = "text"

    def __init__(self, name: str, tokenizer: Any, model: Any) -> None:
        self.name, self._tokenizer, self._model = name, tokenizer, model

    @torch.no_grad()
    def features(self, items: Sequence[str]) -> Tensor:
        ids = [torch.tensor(one.ids) for one in self._tokenizer.encode_batch(list(items))]
        found = torch.empty(len(ids), self._model.config.hidden_size)
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))  # little padding
        for at in range(0, len(order), _AT_ONCE):
            part = order[at : at + _AT_ONCE]
            mask = pad_sequence([torch.ones_like(ids[index]) for index in part], batch_first=True)
            padded = pad_sequence([ids[index] for index in part], batch_first=True)
            hidden = self._model(input_ids=padded, attention_mask=mask).last_hidden_state
            # The sum does for the mean: its length is lost.
            found[part] = functional.normalize((hidden * mask[..., None]).sum(1), dim=1)
        return found


def open_dinov2(weights: Path | str | None) -> Pictures:
    """DINOv2 (Oquab et al. 2024): the class token behind the last normalisation.

    Raises UserError without the package, the weights or the network, and where they do not fit.
    """
    if weights is not None and Path(weights).suffix in (".pth", ".safetensors"):
        model, name = _facebook(Path(weights))
        return Pictures(name, _SQUARE, lambda x: model(x).last_hidden_state[:, 0], model.config.hidden_size)
    folder, model, name = _load("dinov2", weights)
    # Where the file is absent: what facebook/dinov2-* say on the Hub.
    prepare = _preparation(folder, Preparation(size=256, crop=(224, 224)))
    return Pictures(name, prepare, lambda x: model(x).last_hidden_state[:, 0], model.config.hidden_size)


def open_clip(weights: Path | str | None) -> Pictures:
    """CLIP (Radford et al. 2021): the image embedding, not normalised. Raises UserError as `open_dinov2`."""
    folder, model, name = _load("clip", weights)
    side = model.config.vision_config.image_size
    # Where the file is absent: what openai/clip-* say on the Hub, at the size of this network.
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    prepare = _preparation(folder, Preparation(size=side, crop=(side, side), mean=mean, std=std))
    vision, projection = model.vision_model, model.visual_projection  # the half that reads texts is let go
    return Pictures(name, prepare, lambda x: projection(vision(x).pooler_output), projection.out_features)


def open_minilm(weights: Path | str | None) -> Sentences:
    """MiniLM sentence embeddings (Wang et al. 2020; all-MiniLM-L6-v2). Raises UserError as `open_dinov2`."""
    folder, model, name = _load("minilm", weights, add_pooling_layer=False)
    import tokenizers

    path = folder / _TOKENS
    if not path.is_file():
        raise UserError(f"there is no {_TOKENS} in {folder}; {_advice('minilm')}")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more special
        raise UserError(f"{path} cannot be read ({error}); {_advice('minilm')}") from None
    said = _json(folder / _SENTENCES) if (folder / _SENTENCES).exists() else {}
    # 256 is what all-MiniLM-L6-v2 says; its tokenizer.json would cut at 128, and pad.
    tokenizer.enable_truncation(min(said.get("max_seq_length") or 256, model.config.max_position_embeddings))
    tokenizer.no_padding()
    return Sentences(name, tokenizer, model)


def _advice(kind: str) -> str:
    last = f"{_TOKENS} and {_SENTENCES}" if kind == "minilm" else _PREPARATION
    other = ", or the file dinov2_vitl14_pretrain.pth of facebookresearch" if kind == "dinov2" else ""
    return (
        f"on a machine with a network, download config.json, {_WEIGHTS}, {last} of {PUBLISHED[kind]} into one "
        f"folder{other}, and name it with --extractor-weights PATH"
    )


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _transformers(kind: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise needs_extra("transformers", "pretrained", f"the extractor '{kind}'") from None
    return transformers


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No bars and tables while a model is read: what is wrong with it is said by an error of ours."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _load(kind: str, weights: Path | str | None, **arguments: Any) -> tuple[Path, Any, str]:
    """The folder, the model in single precision, and the name with the digest of its weights."""
    transformers = _transformers(kind)
    folder = _folder(kind, weights)
    for file in ("config.json", _WEIGHTS):
        if not (folder / file).is_file():
            raise UserError(f"there is no {file} in {folder}; {_advice(kind)}")
    found = _json(folder / "config.json").get("model_type")
    if found not in _CLASSES[kind]:
        expected = " or ".join(_CLASSES[kind])
        raise UserError(f"{folder} holds a model of type '{found}', expected {expected}; {_advice(kind)}")
    arguments |= {"use_safetensors": True, "local_files_only": True, "dtype": torch.float32}
    model = _read(transformers, _CLASSES[kind][found], folder, folder, kind, **arguments)
    return folder, model, f"{kind}-{digest(folder / _WEIGHTS)[:8]}"


def _read(transformers: Any, class_name: str, source: Path | None, shown: Path, kind: str, **arguments: Any) -> Any:
    try:
        with _quiet(transformers):
            kept = {"output_loading_info": True, **arguments}
            model, told = getattr(transformers, class_name).from_pretrained(source, **kept)
    except Exception as error:  # transformers, safetensors and torch raise their own on damaged files
        raise UserError(f"{shown} cannot be read ({_line(error)}); {_advice(kind)}") from None
    # transformers would only warn, and leave what is missing to chance.
    missing = sorted(told["missing_keys"])
    if missing:
        raise UserError(f"{shown} lacks {len(missing)} tensors, such as '{missing[0]}'; {_advice(kind)}")
    return model.eval().requires_grad_(False)


def _folder(kind: str, weights: Path | str | None) -> Path:
    path = Path(PUBLISHED[kind] if weights is None else weights)
    identifier = path.as_posix()
    if path.is_dir():
        return path
    if path.exists() or not re.fullmatch(r"\w[\w.-]*/[\w.-]+", identifier):
        raise UserError(f"there is no folder {path}; {_advice(kind)}")
    from huggingface_hub import snapshot_download

    files = ["config.json", _WEIGHTS, _PREPARATION, _TOKENS, _SENTENCES]
    try:
        return Path(snapshot_download(identifier, allow_patterns=files))
    except Exception as error:  # the hub client raises its own, its transport's and the operating system's
        raise UserError(
            f"there is no local folder '{identifier}', and the Hub did not give it ({_line(error)}); {_advice(kind)}"
        ) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({_line(error)}); fetch it again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no settings; fetch it again")
    return found


def _preparation(folder: Path, default: Preparation) -> Preparation:
    """What preprocessor_config.json says, or `default` where it is absent."""
    path = folder / _PREPARATION
    if not path.exists():
        return default
    said = _json(path)

    def sides(value: Any) -> int | tuple[int, int]:
        if isinstance(value, dict) and "shortest_edge" in value:
            value = value["shortest_edge"]
        return (int(value["height"]), int(value["width"])) if isinstance(value, dict) else int(value)

    try:
        size = sides(said["size"]) if "size" in said else default.size
        crop: Any = default.crop if isinstance(size, int) else None
        crop = sides(said["crop_size"]) if "crop_size" in said else crop
        crop = (crop, crop) if isinstance(crop, int) else crop
        crop = crop if said.get("do_center_crop", True) else None
        mean, std = said.get("image_mean", default.mean), said.get("image_std", default.std)
        resample = Image.Resampling(said.get("resample", default.resample))
        prepare = Preparation(size, crop, mean, std, float(said.get("rescale_factor", default.scale)), resample)
        # Pictures that kept their shapes would fit no batch.
        fits = (crop is not None or not isinstance(size, int)) and len(mean) == len(std) == 3
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits or not all(said.get(f"do_{step}", True) for step in ("resize", "rescale", "normalize")):
        raise UserError(
            f"{path} is not understood; expected size, crop_size, image_mean and image_std that make pictures of one "
            "size, all steps done; without the file the published ones are taken"
        )
    return prepare


# facebookresearch's names, and those under which the Hub has them.
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
    """DINOv2 from facebookresearch's file (dinov2_vits14_pretrain.pth and alike), and its name."""
    transformers = _transformers("dinov2")
    state = tensors(path, _advice("dinov2"))
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
        state["pos_embed"] = _positions(state["pos_embed"], 224 // patch)
        renamed = _renamed(state)
    except (KeyError, ValueError, IndexError, RuntimeError, ZeroDivisionError):
        raise UserError(f"{path} is not in facebookresearch's layout of DINOv2; {_advice('dinov2')}") from None
    model = _read(transformers, "Dinov2Model", None, path, "dinov2", config=config, state_dict=renamed)
    return model, f"dinov2-{digest(path)[:8]}"


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


def _positions(embedding: Tensor, side: int) -> Tensor:
    """`(1, 1 + old², d)` at `(1, 1 + side², d)`, as facebookresearch's hub loads it.

    It adds 0.1 to the side (dino's issue 8), which moves the places that are read; transformers does not.
    """
    old = math.isqrt(embedding.shape[1] - 1)
    if old == side:
        return embedding
    grid = embedding[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, scale_factor=(side + 0.1) / old, mode="bicubic")
    return torch.cat([embedding[:, :1], grid.flatten(2).transpose(1, 2)], 1)
