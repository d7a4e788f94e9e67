"""The network of the original FID: TensorFlow's Inception of 2015-12-05 (Szegedy et al. 2015; Heusel et al. 2017).

Its parameters have the names in torch-fidelity's conversion of the published weights, which are torchvision's.
"""

from __future__ import annotations

import http.client
import os
import shutil
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from morphogen.core.config import replacing
from morphogen.core.errors import UserError
from morphogen.core.extractor import Extractor
from morphogen.nn.pretrained import read_tensors, sha256

from ._rgb import as_rgb

DIGEST = "6726825d"  # how the SHA-256 of the published file begins
FILE = f"weights-inception-2015-12-05-{DIGEST}.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
_ADVICE = f"download {URL} on a machine with a network, and name the file with --extractor-weights PATH"
SIDE = 299
CLASSES = 1008  # the thousand of ImageNet, and eight unnamed
_AT_ONCE = 16  # pictures; the widest layer holds 5.5 MB of each
_SECONDS = 30  # of silence, after which the download fails

Step = tuple[int, int | tuple[int, int]] | tuple[int, int | tuple[int, int], int]  # channels, kernel, stride
Chain = Sequence[Step | list[Step]]  # a list is a fork: its convolutions read the same input, and are concatenated
Pool = Callable[[Tensor], Tensor]

# TensorFlow's average excludes the padding, and the last block has a maximum where the paper has an average.
_AVERAGE: Pool = partial(functional.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
_MAXIMUM: Pool = partial(functional.max_pool2d, kernel_size=3, stride=1, padding=1)
_HALVE: Pool = partial(functional.max_pool2d, kernel_size=3, stride=2)


class Convolution(nn.Module):
    """A convolution without bias, batch normalisation, ReLU. At stride 1 `padded` keeps the size."""

    def __init__(self, inputs: int, step: Step, padded: bool = True) -> None:
        super().__init__()
        outputs, kernel, stride = (*step, 1)[:3]
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if padded and stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(outputs, eps=1e-3)

    def fuse(self) -> None:
        """Fold the normalisation into the convolution: a seventh faster, and equal up to rounding."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv, self.bn = fuse_conv_bn_eval(self.conv, self.bn), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """Parallel chains of convolutions, concatenated along the channels; the one called `_pool` begins with pooling."""

    def __init__(self, inputs: int, pool: Pool, chains: dict[str, Chain]) -> None:
        super().__init__()
        self.pool, self.outputs = pool, 0
        self.chains: dict[str, list[list[str]]] = {}
        for name, chain in chains.items():
            width, self.chains[name] = inputs, []
            for number, step in enumerate(chain, 1):
                part = f"branch{name}_{number}" if len(chain) > 1 else f"branch{name}"
                fork = {part + "a": step[0], part + "b": step[1]} if isinstance(step, list) else {part: step}
                for part, one in fork.items():
                    self.add_module(part, Convolution(width, one))
                width = sum(one[0] for one in fork.values())
                self.chains[name].append(list(fork))
            self.outputs += width

    def forward(self, x: Tensor) -> Tensor:
        joined = []
        for name, chain in self.chains.items():
            y = self.pool(x) if name == "_pool" else x
            for fork in chain:
                parts = [self.get_submodule(part)(y) for part in fork]
                y = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
            joined.append(y)
        return torch.cat(joined, 1)


def _at_35(pooled: int) -> dict[str, Chain]:
    return {"1x1": [(64, 1)], "5x5": [(48, 1), (64, 5)], "3x3dbl": [(64, 1), (96, 3), (96, 3)], "_pool": [(pooled, 1)]}


def _at_17(narrow: int) -> dict[str, Chain]:
    along, down = (narrow, (1, 7)), (narrow, (7, 1))
    return {
        "1x1": [(192, 1)],
        "7x7": [(narrow, 1), along, (192, (7, 1))],
        "7x7dbl": [(narrow, 1), down, along, down, (192, (1, 7))],
        "_pool": [(192, 1)],
    }


_TO_17: dict[str, Chain] = {"3x3": [(384, 3, 2)], "3x3dbl": [(64, 1), (96, 3), (96, 3, 2)], "_pool": []}
_TO_8: dict[str, Chain] = {
    "3x3": [(192, 1), (320, 3, 2)],
    "7x7x3": [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)],
    "_pool": [],
}
_FORK: list[Step] = [(384, (1, 3)), (384, (3, 1))]
_AT_8: dict[str, Chain] = {
    "1x1": [(320, 1)],
    "3x3": [(384, 1), _FORK],
    "3x3dbl": [(448, 1), (384, 3), _FORK],
    "_pool": [(192, 1)],
}
# Behind the stem: cells are 35 x 35, then 17 x 17, then 8 x 8.
_BLOCKS: dict[str, tuple[Pool, dict[str, Chain]]] = {
    "Mixed_5b": (_AVERAGE, _at_35(32)),
    "Mixed_5c": (_AVERAGE, _at_35(64)),
    "Mixed_5d": (_AVERAGE, _at_35(64)),
    "Mixed_6a": (_HALVE, _TO_17),
    "Mixed_6b": (_AVERAGE, _at_17(128)),
    "Mixed_6c": (_AVERAGE, _at_17(160)),
    "Mixed_6d": (_AVERAGE, _at_17(160)),
    "Mixed_6e": (_AVERAGE, _at_17(192)),
    "Mixed_7a": (_HALVE, _TO_8),
    "Mixed_7b": (_AVERAGE, _AT_8),
    "Mixed_7c": (_MAXIMUM, _AT_8),
}


class Network(nn.Module):
    """From pictures `(B, 3, 299, 299)` in [-1, 1] to the features `(B, 2048)` of the layer `pool3`."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, (32, 3, 2))
        self.Conv2d_2a_3x3 = Convolution(32, (32, 3), padded=False)
        self.Conv2d_2b_3x3 = Convolution(32, (64, 3))
        self.Conv2d_3b_1x1 = Convolution(64, (80, 1))
        self.Conv2d_4a_3x3 = Convolution(80, (192, 3), padded=False)
        width = 192
        for name, (pool, chains) in _BLOCKS.items():
            block = Mixed(width, pool, chains)
            self.add_module(name, block)
            width = block.outputs
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = _HALVE(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = _HALVE(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        for name in _BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))


def _stretched(x: Tensor, side: int, axis: int) -> Tensor:
    """Linear interpolation along an axis as TensorFlow 1 does it: cell i lies at i · old / new, not at its centre."""
    length = x.shape[axis]
    place = torch.arange(side, dtype=torch.float32) * torch.tensor(length / side)
    low = place.long()
    high = (low + 1).clamp(max=length - 1)
    share = (place - low).view(-1, *[1] * (x.ndim - 1 - axis))
    below = x.index_select(axis, low)
    return below + (x.index_select(axis, high) - below) * share


def resized(x: Tensor) -> Tensor:
    """Return a picture `(3, H, W)` at `(3, 299, 299)`: bilinear as in TensorFlow 1, not centred, not anti-aliased.

    The published FIDs use it; another resize gives another FID (Parmar et al. 2022).
    """
    return _stretched(_stretched(x, SIDE, 2), SIDE, 1)


class Inception2015(Extractor[Sequence[Image.Image]]):
    """Features `pool3` (2048) and class probabilities of pictures of any size and mode.

    `name` is `inception-2015` with the published weights only, because only then is the Fréchet distance the FID.
    Raises UserError where the file is missing, damaged or of another layout.
    """

    modality = "image"
    classes = tuple(map(str, range(CLASSES)))

    def __init__(self, path: Path) -> None:
        state = read_tensors(path, _ADVICE)
        with torch.device("meta"):
            network = Network()
        _check(state, network, path)
        network.load_state_dict(state, strict=False, assign=True)
        for module in network.eval().requires_grad_(False).modules():
            if isinstance(module, Convolution):
                module.fuse()
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        digest = sha256(path)[:8]
        self.name = "inception-2015" if digest == DIGEST else f"inception-2015-{digest}"

    @torch.no_grad()
    def features(self, items: Sequence[Image.Image]) -> Tensor:
        parts = [self._network(_batch(items[at : at + _AT_ONCE])) for at in range(0, len(items), _AT_ONCE)]
        return torch.cat(parts) if parts else torch.empty(0, self._network.fc.in_features)

    def probabilities(self, items: Sequence[Image.Image]) -> Tensor:
        return self.probabilities_from(self.features(items))

    def probabilities_from(self, features: Tensor) -> Tensor:
        """Return `(N, 1008)`, double, from features `(N, 2048)`, without running the network again."""
        # Without the bias, as in the Inception Score of Salimans et al. 2016 and torch-fidelity's `logits_unbiased`.
        return (features @ self._network.fc.weight.T).double().softmax(1)


def _batch(items: Sequence[Image.Image]) -> Tensor:
    pixels = (torch.from_numpy(np.array(as_rgb(item))).permute(2, 0, 1).float() for item in items)
    batch = torch.stack([resized(one) for one in pixels])
    return ((batch - 128) / 128).contiguous(memory_format=torch.channels_last)


def _check(state: dict[str, Tensor], network: Network, path: Path) -> None:
    counters = ".num_batches_tracked"  # in some files; no prediction reads them
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items() if not name.endswith(counters)}
    shapes = {name: tuple(value.shape) for name, value in state.items() if not name.endswith(counters)}
    if shapes == expected:
        return
    name = next(name for name in (*expected, *shapes) if shapes.get(name) != expected.get(name))
    raise UserError(
        f"{path} does not hold Inception 2015 in the layout of {FILE}: '{name}' is {shapes.get(name, 'missing')}, "
        f"expected {expected.get(name, 'no such tensor')}; {_ADVICE}"
    )


def open_inception(path: Path | str | None) -> Inception2015:
    """Return the extractor with the weights of a file; None: from the user's cache, downloaded there if absent.

    Raises UserError that says what to do without a network.
    """
    return Inception2015(Path(path) if path else _cached())


def _cached() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "morphogen" / "weights"
    path = cache / FILE
    if path.exists():
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"could not make the folder {cache}: {error.strerror}; {_ADVICE}") from None
    with replacing(path) as temporary:
        try:
            with urllib.request.urlopen(URL, timeout=_SECONDS) as response, temporary.open("wb") as file:
                shutil.copyfileobj(response, file)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise UserError(f"the weights of inception-2015 could not be downloaded ({reason}); {_ADVICE}") from None
        digest = sha256(temporary)
        if not digest.startswith(DIGEST):
            raise UserError(
                f"the file at {URL} has the SHA-256 {digest[:8]}…, expected {DIGEST}…; try again later, or {_ADVICE}"
            )
    return path
