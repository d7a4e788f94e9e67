"""The peer `diffusers`: its UNet2DModel, trained by its own unconditional recipe, sampled in 20 steps in two ways.

The recipe is examples/unconditional_image_generation/train_unconditional.py: noise prediction over 1000 linear steps,
AdamW (.95, .999), clipping at 1, EMA with warm-up, learning rate with warm-up and cosine decay. The widths, and 1e-3 as
the rate, are those of small grey pictures in its course; the schedule is stretched over the budget.

Groups of four channels are normalised. With the default of 32 groups each of the 32 channels is normalised alone, the
network cannot predict the mean of the noise, and the samples of DPM-Solver++, which does not clip, are black and white.
DDIM clips the predicted data, so both are measured.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import numpy as np
import torch
from contest import (
    Mode,
    epochs,
    fastest,
    parser,
    peak_memory,
    pictures,
    plain,
    planes,
    prepare,
    sample,
    to_bytes,
    train,
    write_json,
    write_samples,
)
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn import functional

BATCH = 16  # on 1,000 samples against training pictures, ten minutes each: distance 38, with 64 it is 48
RATE = 1e-3
WARM_UP = 0.05  # of the budget; the recipe's 500 steps would be more than half of it here
STEPS = 20
SAMPLERS = {"dpm_solver": DPMSolverMultistepScheduler, "ddim": DDIMScheduler}


def network(size: tuple[int, int, int]) -> UNet2DModel:
    """Attention at the lowest level, of 7 or 8 cells a side; 28 halves twice and 64 three times, without padding."""
    channels, height, _ = size
    halved = 2 if height <= 32 else 3
    return UNet2DModel(
        sample_size=height,
        in_channels=channels,
        out_channels=channels,
        norm_num_groups=8,
        layers_per_block=2,
        block_out_channels=(32, *(64,) * halved),
        down_block_types=(*("DownBlock2D",) * halved, "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", *("UpBlock2D",) * halved),
    )


def main() -> None:
    arguments = parser().parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    prepare(arguments.threads, arguments.seed)
    schedule = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    images = planes(pictures(arguments.data, "train")[0]) * 2 - 1
    size = (images.shape[1], images.shape[2], images.shape[3])
    model = network(size)

    def loss(network: nn.Module, x: Tensor) -> Tensor:
        noise = torch.randn_like(x)
        t = torch.randint(0, schedule.config.num_train_timesteps, (len(x),))
        return functional.mse_loss(network(schedule.add_noise(x, noise, t), t).sample.float(), noise)

    weights = out / "weights.pt"
    if not weights.exists():  # a finished training is not repeated when only sampling failed
        mode, rates = fastest(model, loss, images[:BATCH])
        print(f"{mode}: {rates}", flush=True)
        torch.manual_seed(arguments.seed)
        model = model.to(memory_format=mode.layout).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        average = EMAModel(model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)

        def step(x: Tensor, progress: float) -> Tensor:
            decay = 0.5 * (1 + math.cos(math.pi * max(0.0, (progress - WARM_UP) / (1 - WARM_UP))))
            optimiser.param_groups[0]["lr"] = RATE * min(1.0, (progress + 1e-3) / WARM_UP, decay)
            with mode.autocast():
                value = loss(model, x.contiguous(memory_format=mode.layout))
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            average.step(model.parameters())
            return value.detach()

        clock = time.process_time if arguments.processor_time else time.perf_counter
        record = train(step, epochs(images, BATCH, arguments.seed), arguments.minutes, clock)
        average.copy_to(model.parameters())
        torch.save(model.state_dict(), weights)
        parameters = sum(p.numel() for p in model.parameters())
        record |= {"parameters": parameters, "precision": str(mode), "precisions_tried": rates, "batch": BATCH}
        write_json(out / "training.json", record | {"peak_memory_mib": peak_memory()})

    mode = plain(json.loads((out / "training.json").read_text())["precisions_tried"])
    model.load_state_dict(torch.load(weights, weights_only=True))
    model = model.to(memory_format=mode.layout).eval()
    for name in SAMPLERS:
        if not (out / name / "sampling.json").exists():
            samples, record = generate(model, schedule, name, mode, arguments)
            write_samples(out / name, samples, record)


def generate(
    model: UNet2DModel, schedule: DDPMScheduler, name: str, mode: Mode, arguments: argparse.Namespace
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return samples by one of the samplers, and the record of how they were made."""
    random = torch.Generator().manual_seed(arguments.seed)
    size = (model.config.in_channels, model.config.sample_size, model.config.sample_size)

    @torch.no_grad()
    def draw(first: int, count: int) -> np.ndarray:
        solver = SAMPLERS[name].from_config(schedule.config)
        solver.set_timesteps(STEPS)
        x = torch.randn(count, *size, generator=random).contiguous(memory_format=mode.layout)
        for t in solver.timesteps:
            x = solver.step(model(x, t).sample.float(), t, x).prev_sample
        return to_bytes(x, -1, 1)

    # Judged in float32, so that its quality does not suffer; bfloat16 is only timed.
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        draw(0, 50)
    rate = 50 / (time.perf_counter() - start)
    samples, record = sample(draw, arguments.samples, 250)
    return samples, record | {"images_per_second_bfloat16": rate, "evaluations": STEPS, "precision": str(mode)}


if __name__ == "__main__":
    main()
