"""The judge: a small classifier, trained on the training split, whose 128 features the figures read."""

from __future__ import annotations

import hashlib
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from contest import epochs, fastest, parser, pictures, prepare, write_json
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 128
BATCH = 128
EPOCHS = 6
RATE = 2e-3


def block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Classifier(nn.Module):
    """Five convolutions, a layer of 128 features, ten classes. Pictures are `(B, 1, 28, 28)` in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            block(1, 32),
            nn.MaxPool2d(2),
            block(32, 64),
            block(64, 64),
            nn.MaxPool2d(2),
            block(64, 128),
            block(128, 64),
            nn.Flatten(),
        )
        self.features = nn.Sequential(nn.Dropout(0.3), nn.Linear(64 * 7 * 7, FEATURES), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(FEATURES, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(self.trunk(x)))


class Judge:
    """A trained classifier, frozen; `name` holds the hash of its weights, and figures compare only under one name."""

    def __init__(self, folder: Path) -> None:
        self.record = json.loads((folder / "judge.json").read_text())
        self.model = Classifier()
        self.model.load_state_dict(load_file(folder / "judge.safetensors"))
        self.model = self.model.to(memory_format=torch.channels_last).eval()

    @property
    def name(self) -> str:
        return f"fashion-cnn-{self.record['sha256'][:8]}"

    @torch.no_grad()
    def look(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """Features `(N, 128)` and classes `(N,)` of uint8 pictures `(N, 28, 28)`, in float32."""
        features, classes = [], []
        for batch in torch.from_numpy(np.array(images)).split(500):
            x = (batch.float()[:, None] / 255).contiguous(memory_format=torch.channels_last)
            features.append(self.model.features(self.model.trunk(x)))
            classes.append(self.model.head(features[-1]).argmax(dim=1))
        return torch.cat(features), torch.cat(classes)


def main() -> None:
    found = parser()
    found.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = found.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    prepare(arguments.threads, arguments.seed)
    images, labels = pictures(arguments.data, "train")
    x = torch.from_numpy(images.copy()).float()[:, None] / 255
    y = torch.from_numpy(labels)
    model = Classifier()
    mode, rates = fastest(model, lambda network, batch: network(batch).square().mean(), x[:BATCH])
    print(f"{mode}: {rates}", flush=True)

    torch.manual_seed(arguments.seed)
    model = model.to(memory_format=mode.layout).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    steps, start = arguments.epochs * (len(x) // BATCH), time.perf_counter()
    order = epochs(torch.arange(len(x)), BATCH, arguments.seed)
    for step in range(steps):
        index = next(order)
        # A fixed number of steps, not of minutes: the judge should not depend on how busy the machine is.
        optimiser.param_groups[0]["lr"] = (
            RATE * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        )
        with mode.autocast():
            scores = model(x[index].contiguous(memory_format=mode.layout))
        loss = functional.cross_entropy(scores.float(), y[index], label_smoothing=0.05)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 200 == 0:
            print(f"{time.perf_counter() - start:6.0f} s  step {step}/{steps}  loss {loss.item():.4f}", flush=True)

    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, out / "judge.safetensors")
    record = {
        "sha256": hashlib.sha256((out / "judge.safetensors").read_bytes()).hexdigest(),
        "epochs": arguments.epochs,
        "seconds": time.perf_counter() - start,
        "precision": str(mode),
        "seed": arguments.seed,
    }
    write_json(out / "judge.json", record)
    images, labels = pictures(arguments.data, "t10k")
    accuracy = float((Judge(out).look(images)[1].numpy() == labels).mean())
    write_json(out / "judge.json", record | {"test_accuracy": accuracy})
    print(f"accuracy {accuracy:.4f} on the test pictures, {record['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
