"""Features of pictures: a small network, trained on the user's own training pictures and then frozen."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from morphogen.core.errors import UserError
from morphogen.core.extractor import Extractor
from morphogen.nn.precision import bf16_is_emulated

from .codec import ImageCodec

Pictures = Sequence[Image.Image]

FEATURES = 64
_SIDE = 64  # pixels, at most
_LEAST = 10  # pictures to train on
_BATCH, _FEWEST, _MOST_STEPS, _PASSES = 128, 200, 1000, 12
_RATE, _SMOOTHING, _TEMPERATURE = 2e-3, 0.05, 0.2
_AT_ONCE = 256

TRAINS = True  # the extractor has to be trained, and so must not see what it judges
SAMPLES = 1000  # that are judged, where nothing is said


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
    """The features of a trained `Network`, which knows classes where the pictures had labels."""

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
        return torch.cat([self._look(part) for part in _parts(items)])

    @torch.no_grad()
    def probabilities(self, items: Pictures) -> Tensor:
        return torch.cat([self.network.head(self._look(part)).softmax(1) for part in _parts(items)])

    def _look(self, items: Pictures) -> Tensor:
        x = planes(items, self.channels, self.side)
        # Always as many at once: the last bits of a product hang on the number of its rows.
        whole = F.pad(x, (0,) * 7 + (_AT_ONCE - len(x),)).contiguous(memory_format=torch.channels_last)
        return self.network.features(self.network.trunk(whole))[: len(x)].float()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        settings = {"channels": self.channels, "side": self.side, "classes": list(self.classes)}
        return settings, dict(self.network.state_dict())


def own(chunks: Iterable[Pictures], labels: Sequence[str] | None, *, codec: ImageCodec, seed: int) -> Cnn:
    """A network trained on these pictures: to name their `labels`, or, without, to tell each from all others.

    It is shown them shifted, and of those without labels a part hidden and with noise, but never brighter or darker:
    what it should not be blind to. Raises UserError where there are fewer than ten pictures.
    """
    channels, side = (3 if codec.mode == "RGB" else 1), min(_SIDE, max(codec.size))
    parts = [(planes(chunk, channels, side) * 255).round_().to(torch.uint8) for chunk in chunks]
    x = torch.cat(parts) if parts else torch.empty(0, channels, side, side, dtype=torch.uint8)
    if len(x) < _LEAST:
        raise UserError(f"an extractor needs at least {_LEAST} training pictures; found {len(x)}")
    kept = np.arange(len(x))
    classes: list[str] = []
    y = torch.zeros(len(x), dtype=torch.int64)
    if labels is not None:
        classes = sorted({one for one in labels if one})
        kept = np.flatnonzero([bool(one) for one in labels])
        codes = {name: number for number, name in enumerate(classes)}
        y = torch.tensor([codes.get(one, 0) for one in labels])
    if len(classes) < 2 or len(kept) < _LEAST:
        classes, kept = [], np.arange(len(x))
    x, y = x[kept], y[kept]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # sums hang on their number, and figures must not
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(channels, side, len(classes) or FEATURES)
            _train(network, x, y if classes else None)
    finally:
        torch.set_num_threads(threads)
    return Cnn(network, channels, side, classes)


def _train(network: Network, x: Tensor, y: Tensor | None) -> None:
    """Steps of a number that only the pictures settle, so that the network does not hang on how busy the machine is."""
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    half = torch.autocast("cpu", torch.bfloat16, enabled=not bf16_is_emulated())
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.02)
    steps = max(_FEWEST, min(_MOST_STEPS, _PASSES * len(x) // _BATCH))
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
                loss = F.cross_entropy(_seen(network, _shifted(batch)), y[index], label_smoothing=_SMOOTHING)
            else:
                loss = _apart(_seen(network, _spoiled(batch)), _seen(network, _spoiled(batch)))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def _seen(network: Network, x: Tensor) -> Tensor:
    return network(x.contiguous(memory_format=torch.channels_last)).float()


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Each picture's two versions alike, and unlike all others (NT-Xent, Chen et al. 2020, equation 1)."""
    z = F.normalize(torch.cat([one, other]), dim=1)
    alike = (z @ z.T / _TEMPERATURE).fill_diagonal_(-torch.inf)
    count = len(one)
    return F.cross_entropy(alike, torch.arange(2 * count).roll(count))


def _shifted(x: Tensor, reach: int | None = None) -> Tensor:
    """The whole batch moved by a few pixels, at the rim what was there."""
    reach = max(1, x.shape[-1] // 16) if reach is None else reach
    down, right = torch.randint(0, 2 * reach + 1, (2,)).tolist()
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    return padded[..., down : down + x.shape[-2], right : right + x.shape[-1]]


def _spoiled(x: Tensor) -> Tensor:
    """Shifted, a rectangle of each hidden, with noise."""
    x = _shifted(x, max(1, x.shape[-1] // 8)).clone()
    side = max(1, x.shape[-1] // 3)
    for picture, (top, left) in zip(x, torch.randint(0, x.shape[-1] - side + 1, (len(x), 2)).tolist(), strict=True):
        picture[:, top : top + side, left : left + side] = picture.mean()
    return (x + 0.05 * torch.randn_like(x)).clamp(0, 1)


def restored(config: dict[str, Any], tensors: dict[str, Tensor]) -> Cnn:
    """What `state` described."""
    network = Network(config["channels"], config["side"], len(config["classes"]) or FEATURES)
    network.load_state_dict(tensors)
    return Cnn(network, config["channels"], config["side"], config["classes"])


def planes(items: Pictures, channels: int, side: int | None = None) -> Tensor:
    """Pictures of one size as `(N, channels, H, W)` in [0, 1], with `side` as a square of so many pixels."""
    arrays = [_array(item, channels) for item in items]
    sizes = {array.shape for array in arrays}
    if len(sizes) > 1:
        found = ", ".join(f"{height}x{width}" for height, width, _ in sorted(sizes)[:3])
        raise UserError(f"pictures of different sizes cannot be compared: {found}; bring them to one size")
    x = torch.from_numpy(np.stack(arrays)) if arrays else torch.empty(0, 1, 1, channels)
    x = x.movedim(-1, 1)
    if side is not None and len(x) and x.shape[-2:] != (side, side):
        x = F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return x


def _array(item: Image.Image, channels: int) -> NDArray[Any]:
    values = np.asarray(item)
    if item.mode.startswith("I"):
        return np.repeat((values / 65535).astype(np.float32)[..., None], channels, axis=2)
    wanted = item if item.mode == ("RGB" if channels == 3 else "L") else item.convert("RGB" if channels == 3 else "L")
    return np.asarray(wanted, dtype=np.float32).reshape(wanted.height, wanted.width, channels) / 255


def _parts(items: Pictures) -> Iterable[Pictures]:
    return (items[start : start + _AT_ONCE] for start in range(0, max(len(items), 1), _AT_ONCE))


def floor(items: Pictures, seed: int) -> list[Image.Image]:
    """Pictures whose pixels are right one by one, and have nothing to do with each other."""
    x = np.ascontiguousarray(np.stack([np.asarray(item) for item in items]))
    # All colours of a pixel go together: as one value of so many bytes.
    whole = x.reshape(*x.shape[:3], -1)
    pixels = whole.view(np.dtype((np.void, whole.shape[-1] * whole.itemsize)))[..., 0]
    mixed = np.random.default_rng(seed).permuted(pixels, axis=0)
    return [Image.fromarray(one) for one in np.ascontiguousarray(mixed).view(x.dtype).reshape(x.shape)]


def seen(items: Pictures, codec: ImageCodec) -> list[Image.Image]:
    """Pictures as the model could have made them: at its size, cropped as it does, in all their shades."""
    whole = codec.reduced(1)
    return [picture for part in _parts(items) if part for picture in whole.decode(whole.encode(list(part)))]


def measured(items: Pictures) -> dict[str, NDArray[np.float64]]:
    """Plain properties of each picture, by name: what a person would say of it."""
    parts = [_measured(planes(part, 3).double()) for part in _parts(items) if part]
    found = {name: np.concatenate([one[name] for one in parts]) for name in parts[0]} if parts else {}
    if "colourfulness" in found and not found["colourfulness"].any():
        del found["colourfulness"]
    return found


def _measured(x: Tensor) -> dict[str, NDArray[np.float64]]:
    """The same of `(N, 3, H, W)` in [0, 1]."""
    grey = x.mean(1)
    found = {"brightness": grey.mean((1, 2)), "contrast": grey.flatten(1).std(1, correction=0)}
    if min(grey.shape[1:]) > 1:
        across, down = (grey.diff(dim=axis).abs().mean((1, 2)) for axis in (2, 1))
        found["sharpness"] = across + down
    found["colourfulness"] = (x.amax(1) - x.amin(1)).mean((1, 2))
    return {name: values.numpy() for name, values in found.items()}
