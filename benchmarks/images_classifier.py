"""The judge: a small classifier trained on the training pictures; figures are computed from its 128 features."""

from __future__ import annotations

import hashlib
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from contest import epochs, fastest, parser, pictures, planes, prepare, write_json
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 128
BATCH = 128
EPOCHS = 6
FEW = 10_000  # with fewer pictures, training is fifteen times as long and augments them
RATE = 2e-3


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Classifier(nn.Module):
    """Convolutions, a layer of 128 features, the classes. Pictures are `(B, C, H, W)` in [0, 1]."""

    def __init__(self, size: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = size
        stride = 1 if max(height, width) <= 32 else 2
        self.trunk = nn.Sequential(
            block(channels, 32, stride),
            nn.MaxPool2d(2),
            block(32, 64),
            block(64, 64),
            nn.MaxPool2d(2),
            block(64, 128),
            block(128, 64),
            nn.Flatten(),
        )
        cells = (height // stride // 4) * (width // stride // 4)
        self.features = nn.Sequential(nn.Dropout(0.3), nn.Linear(64 * cells, FEATURES), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(FEATURES, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(self.trunk(x)))


def augmented(x: Tensor) -> Tensor:
    """Return a batch mirrored or not, shifted, and each picture brightened, at random."""
    x = x.flip(3) if torch.rand(()) < 0.5 else x
    down, right = torch.randint(-5, 6, (2,)).tolist()
    return (x.roll((down, right), (2, 3)) + 0.2 * torch.rand(len(x), x.shape[1], 1, 1) - 0.1).clamp(0, 1)


class Judge:
    """A trained classifier, frozen; `name` holds the hash of its weights, and figures compare only under one name."""

    def __init__(self, folder: Path) -> None:
        self.record = json.loads((folder / "judge.json").read_text())
        self.model = Classifier(tuple(self.record.get("size", (1, 28, 28))), self.classes)
        self.model.load_state_dict(load_file(folder / "judge.safetensors"))
        self.model = self.model.to(memory_format=torch.channels_last).eval()

    @property
    def classes(self) -> int:
        return self.record.get("classes", 10)

    @property
    def name(self) -> str:
        return f"{self.record.get('data', 'fashion-mnist').split('-')[0]}-cnn-{self.record['sha256'][:8]}"

    @torch.no_grad()
    def predict(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the features `(N, 128)`, float32, and the classes `(N,)` of uint8 pictures."""
        features, classes = [], []
        for start in range(0, len(images), 500):
            x = planes(images[start : start + 500]).contiguous(memory_format=torch.channels_last)
            features.append(self.model.features(self.model.trunk(x)))
            classes.append(self.model.head(features[-1]).argmax(dim=1))
        return torch.cat(features), torch.cat(classes)


def main() -> None:
    flags = parser()
    flags.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = flags.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    prepare(arguments.threads, arguments.seed)
    images, labels = pictures(arguments.data, "train")
    x, y = planes(images), torch.from_numpy(labels)
    size, classes = (x.shape[1], x.shape[2], x.shape[3]), int(y.max()) + 1
    model = Classifier(size, classes)
    mode, rates = fastest(model, lambda network, batch: network(batch).square().mean(), x[:BATCH])
    print(f"{mode}: {rates}", flush=True)

    torch.manual_seed(arguments.seed)
    model = model.to(memory_format=mode.layout).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    few = len(x) < FEW
    steps, start = arguments.epochs * (15 if few else 1) * (len(x) // BATCH), time.perf_counter()
    order = epochs(torch.arange(len(x)), BATCH, arguments.seed)
    for step in range(steps):
        index = next(order)
        # A fixed number of steps, not of minutes: the judge should not depend on how busy the machine is.
        optimiser.param_groups[0]["lr"] = (
            RATE * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        )
        with mode.autocast():
            scores = model((augmented(x[index]) if few else x[index]).contiguous(memory_format=mode.layout))
        loss = functional.cross_entropy(scores.float(), y[index], label_smoothing=0.05)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 200 == 0:
            print(f"{time.perf_counter() - start:6.0f} s  step {step}/{steps}  loss {loss.item():.4f}", flush=True)

    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, out / "judge.safetensors")
    record = {
        "data": arguments.data.name,
        "size": size,
        "classes": classes,
        "sha256": hashlib.sha256((out / "judge.safetensors").read_bytes()).hexdigest(),
        "epochs": arguments.epochs,
        "seconds": time.perf_counter() - start,
        "precision": str(mode),
        "seed": arguments.seed,
    }
    write_json(out / "judge.json", record)
    images, labels = pictures(arguments.data, "test")
    accuracy = float((Judge(out).predict(images)[1].numpy() == labels).mean())
    write_json(out / "judge.json", record | {"test_accuracy": accuracy})
    print(f"accuracy {accuracy:.4f} on the test pictures, {record['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
