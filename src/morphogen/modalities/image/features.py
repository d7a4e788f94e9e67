"""Features of pictures: a small network, trained on the user's own training pictures and then frozen."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F

from morphogen.core.errors import UserError
from morphogen.core.extractor import Extractor
from morphogen.core.noise import Noise
from morphogen.nn.precision import bf16_is_emulated

from .codec import ImageCodec

Pictures = Sequence[Image.Image]

FEATURES = 64
_SIDE = 64  # pixels, at most
_LEAST = 10  # pictures to train on
_BATCH, _FEWEST, _MOST_STEPS, _PASSES = 128, 200, 1000, 12
QUICK_STEPS = 40
_RATE, _SMOOTHING, _TEMPERATURE = 2e-3, 0.05, 0.2
_AT_ONCE = 256
_BLUR = 1 / 16  # of the longer side: half a pixel of 8, two of 32


class Network(nn.Module):
    """Five convolutions and a layer of 64 features. Pictures are `(B, C, H, W)` in [0, 1]."""

    def __init__(self, channels: int, side: int, outputs: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _block(channels, 32, 2 if side > 16 else 1),
            _block(32, 64, 2 if side > 32 else 1),
            _block(64, 64, 2 if side > 8 else 1),
            _block(64, 128),
            _block(128, 64),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
        )
        self.features = nn.Sequential(nn.Dropout(0.3), nn.Linear(64 * 16, FEATURES))
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(self.trunk(x)))


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Cnn(Extractor[Pictures]):
    """The features of a trained `Network`; it is a classifier where the training pictures had labels."""

    modality = "image"
    of_data = True

    def __init__(self, network: Network, channels: int, side: int, classes: Sequence[str]) -> None:
        self.network = network
        network.to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
        self.channels, self.side, self.classes = channels, side, tuple(classes)
        settings, tensors = self.state()
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name, value in sorted(tensors.items()):
            digest.update(name.encode() + value.contiguous().numpy().tobytes())
        kind = "classifier" if self.classes else "contrastive"
        self.name = f"{kind}-{digest.hexdigest()[:8]}"

    @torch.no_grad()
    def features(self, items: Pictures) -> Tensor:
        return torch.cat([self._embed(part) for part in _parts(items)])

    @torch.no_grad()
    def probabilities(self, items: Pictures) -> Tensor:
        return torch.cat([self.network.head(self._embed(part)).softmax(1) for part in _parts(items)])

    def _embed(self, items: Pictures) -> Tensor:
        x = planes(items, self.channels, self.side)
        # Padded to one batch size, because the last bits of a matrix product depend on it.
        batch = F.pad(x, (0,) * 7 + (_AT_ONCE - len(x),)).contiguous(memory_format=torch.channels_last)
        return self.network.features(self.network.trunk(batch))[: len(x)].float()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        settings = {"channels": self.channels, "side": self.side, "classes": list(self.classes)}
        return settings, dict(self.network.state_dict())


def fit_extractor(
    chunks: Iterable[Pictures],
    labels: Sequence[str] | None,
    *,
    codec: ImageCodec,
    seed: int,
    steps: int | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> Cnn:
    """Return a network trained on these pictures: as a classifier of `labels`, or contrastively without labels.

    The number of steps depends on that of the pictures, unless it is given; `advance` takes how many of how many are
    done.

    Pictures are augmented by shifts, and without labels also by hidden rectangles and noise; never by brightness, to
    which features have to be sensitive. Raises UserError with fewer than ten pictures.
    """
    channels, side = (3 if codec.mode == "RGB" else 1), min(_SIDE, max(codec.size))
    parts = [(planes(chunk, channels, side) * 255).round_().to(torch.uint8) for chunk in chunks]
    x = torch.cat(parts) if parts else torch.empty(0, channels, side, side, dtype=torch.uint8)
    if len(x) < _LEAST:
        raise UserError(f"an extractor needs at least {_LEAST} training pictures; found {len(x)}")
    usable = np.arange(len(x))
    classes: list[str] = []
    y = torch.zeros(len(x), dtype=torch.int64)
    if labels is not None:
        classes = sorted({label for label in labels if label})
        usable = np.flatnonzero([bool(label) for label in labels])
        codes = {name: number for number, name in enumerate(classes)}
        y = torch.tensor([codes.get(label, 0) for label in labels])
    if len(classes) < 2 or len(usable) < _LEAST:
        classes, usable = [], np.arange(len(x))
    x, y = x[usable], y[usable]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # the last bits of sums depend on the number of threads
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(channels, side, len(classes) or FEATURES)
            _train(network, x, y if classes else None, steps, advance)
    finally:
        torch.set_num_threads(threads)
    return Cnn(network, channels, side, classes)


def _train(
    network: Network, x: Tensor, y: Tensor | None, steps: int | None, advance: Callable[[int, int], None] | None
) -> None:
    """Train for a number of steps that depends only on the number of pictures, to be the same on any machine."""
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    half = torch.autocast("cpu", torch.bfloat16, enabled=not bf16_is_emulated())
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.02)
    steps = steps or max(_FEWEST, min(_MOST_STEPS, _PASSES * len(x) // _BATCH))
    order = torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        rate = _RATE * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimiser.param_groups[0]["lr"] = rate
        if len(order) < min(_BATCH, len(x)):
            order = torch.cat([order, torch.randperm(len(x))])
        index, order = order[:_BATCH], order[_BATCH:]
        batch = x[index].float() / 255
        with half:
            if y is not None:
                loss = F.cross_entropy(_logits(network, _shifted(batch)), y[index], label_smoothing=_SMOOTHING)
            else:
                loss = _contrastive_loss(_logits(network, _augmented(batch)), _logits(network, _augmented(batch)))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if advance is not None:
            advance(step + 1, steps)


def _logits(network: Network, x: Tensor) -> Tensor:
    return network(x.contiguous(memory_format=torch.channels_last)).float()


def _contrastive_loss(one: Tensor, other: Tensor) -> Tensor:
    """Return NT-Xent of two augmented versions of each picture (Chen et al. 2020, equation 1)."""
    z = F.normalize(torch.cat([one, other]), dim=1)
    similarity = (z @ z.T / _TEMPERATURE).fill_diagonal_(-torch.inf)
    count = len(one)
    return F.cross_entropy(similarity, torch.arange(2 * count).roll(count))


def _shifted(x: Tensor, reach: int | None = None) -> Tensor:
    """Return the whole batch shifted by a few pixels, with replicated edges."""
    reach = max(1, x.shape[-1] // 16) if reach is None else reach
    down, right = torch.randint(0, 2 * reach + 1, (2,)).tolist()
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    return padded[..., down : down + x.shape[-2], right : right + x.shape[-1]]


def _augmented(x: Tensor) -> Tensor:
    """Return the batch shifted, with noise, and with a rectangle of each picture hidden."""
    x = _shifted(x, max(1, x.shape[-1] // 8)).clone()
    side = max(1, x.shape[-1] // 3)
    for picture, (top, left) in zip(x, torch.randint(0, x.shape[-1] - side + 1, (len(x), 2)).tolist(), strict=True):
        picture[:, top : top + side, left : left + side] = picture.mean()
    return (x + 0.05 * torch.randn_like(x)).clamp(0, 1)


def restore_extractor(config: dict[str, Any], tensors: dict[str, Tensor]) -> Cnn:
    """Return the extractor that `Cnn.state` described."""
    network = Network(config["channels"], config["side"], len(config["classes"]) or FEATURES)
    network.load_state_dict(tensors)
    return Cnn(network, config["channels"], config["side"], config["classes"])


def planes(items: Pictures, channels: int, side: int | None = None) -> Tensor:
    """Return pictures of one size as `(N, channels, H, W)` in [0, 1], resized to a square where `side` is given.

    Raises UserError where their sizes differ.
    """
    arrays = [_array(item, channels) for item in items]
    sizes = {array.shape for array in arrays}
    if len(sizes) > 1:
        names = ", ".join(f"{width}x{height}" for height, width, _ in sorted(sizes)[:3])
        raise UserError(f"pictures of different sizes cannot be compared: {names}; bring them to one size")
    x = torch.from_numpy(np.stack(arrays)) if arrays else torch.empty(0, 1, 1, channels)
    x = x.movedim(-1, 1)
    if side is not None and len(x) and x.shape[-2:] != (side, side):
        x = F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return x


def _array(item: Image.Image, channels: int) -> NDArray[Any]:
    """Return the pixels as `(H, W, channels)`, float32 in [0, 1]."""
    if item.mode.startswith("I"):
        return np.repeat((np.asarray(item) / 65535).astype(np.float32)[..., None], channels, axis=2)
    converted = item.convert("RGB" if channels == 3 else "L")
    return np.asarray(converted, dtype=np.float32).reshape(converted.height, converted.width, channels) / 255


def _parts(items: Pictures) -> Iterable[Pictures]:
    return (items[start : start + _AT_ONCE] for start in range(0, max(len(items), 1), _AT_ONCE))


def independent_baseline(items: Pictures, seed: int) -> list[Image.Image]:
    """Return pictures with the right distribution of each pixel, and independent pixels."""
    x = np.ascontiguousarray(np.stack([np.asarray(item) for item in items]))
    # All channels of a pixel stay together, as one value of so many bytes.
    whole = x.reshape(*x.shape[:3], -1)
    pixels = whole.view(np.dtype((np.void, whole.shape[-1] * whole.itemsize)))[..., 0]
    shuffled = np.random.default_rng(seed).permuted(pixels, axis=0)
    return [Image.fromarray(one) for one in np.ascontiguousarray(shuffled).view(x.dtype).reshape(x.shape)]


def blurred(items: Pictures) -> list[Image.Image]:
    """Return pictures that anyone sees are blurred: what is as far from real pictures is far."""
    sigma = _BLUR * max(items[0].size) if items else 0.0
    arrays = [np.asarray(item) for item in items]
    smooth = [gaussian_filter(x.astype(np.float32), (sigma, sigma, 0)[: x.ndim], mode="nearest") for x in arrays]
    return [Image.fromarray(np.rint(x).astype(raw.dtype)) for x, raw in zip(smooth, arrays, strict=True)]


def as_seen(items: Pictures, codec: ImageCodec) -> list[Image.Image]:
    """Return pictures at the model's size and crop, in all their shades."""
    full = codec.downscaled(1)
    return [
        picture
        for part in _parts(items)
        if part
        for picture in full.decode(full.encode(list(part)), Noise.consecutive(0, len(part)))
    ]


def properties(items: Pictures) -> dict[str, NDArray[np.float64]]:
    """Return plain properties of each picture, `(N,)`, by name; colourfulness only if any picture has colour."""
    parts = [_properties(planes(part, 3).double()) for part in _parts(items) if part]
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    if "colourfulness" in values and not values["colourfulness"].any():
        del values["colourfulness"]
    return values


def _properties(x: Tensor) -> dict[str, NDArray[np.float64]]:
    """Return the properties of `(N, 3, H, W)` in [0, 1]."""
    grey = x.mean(1)
    values = {"brightness": grey.mean((1, 2)), "contrast": grey.flatten(1).std(1, correction=0)}
    if min(grey.shape[1:]) > 1:
        across, down = (grey.diff(dim=axis).abs().mean((1, 2)) for axis in (2, 1))
        values["sharpness"] = across + down
    values["colourfulness"] = (x.amax(1) - x.amin(1)).mean((1, 2))
    return {name: value.numpy() for name, value in values.items()}
