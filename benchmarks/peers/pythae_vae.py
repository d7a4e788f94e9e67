"""The peer `pythae`: its benchmark's convolutional VAE for MNIST, sampled by its normal and its mixture sampler.

Settings are its examples/scripts/configs/mnist: 16 latents, squared error, Adam 1e-3, batches of 100. At 64 x 64 in
colour they are those of configs/celeba: its network for CelebA and 64 latents. Its trainer counts epochs, not
seconds, so the same steps are taken in a loop with a clock.
"""

from __future__ import annotations

import json
import time

import numpy as np
import torch
from contest import (
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
from pythae.models import VAE, VAEConfig
from pythae.models.nn.benchmarks.celeba import Decoder_Conv_AE_CELEBA, Encoder_Conv_VAE_CELEBA
from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST
from pythae.samplers import GaussianMixtureSampler, GaussianMixtureSamplerConfig, NormalSampler
from torch import Tensor, nn

BATCH = 100
COMPONENTS = 10


def network(channels: int) -> VAE:
    """Return its network for grey pictures of 28 x 28, or for colour pictures of 64 x 64."""
    if channels == 1:
        config = VAEConfig(input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss="mse")
        encoder, decoder = Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config)
    else:
        config = VAEConfig(input_dim=(3, 64, 64), latent_dim=64, reconstruction_loss="mse")
        encoder, decoder = Encoder_Conv_VAE_CELEBA(config), Decoder_Conv_AE_CELEBA(config)
    return VAE(config, encoder=encoder, decoder=decoder)


def main() -> None:
    arguments = parser().parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    prepare(arguments.threads, arguments.seed)
    images = planes(pictures(arguments.data, "train")[0])
    model = network(images.shape[1])

    def loss(vae: nn.Module, x: Tensor) -> Tensor:
        return vae({"data": x}).loss

    weights = out / "weights.pt"
    if not weights.exists():  # a finished training is not repeated when only sampling failed
        mode, rates = fastest(model, loss, images[:BATCH])
        print(f"{mode}: {rates}", flush=True)
        torch.manual_seed(arguments.seed)
        model = model.to(memory_format=mode.layout).train()
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

        def step(x: Tensor, progress: float) -> Tensor:
            with mode.autocast():
                value = loss(model, x.contiguous(memory_format=mode.layout))
            value.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            return value.detach()

        record = train(step, epochs(images, BATCH, arguments.seed), arguments.minutes)
        torch.save(model.state_dict(), weights)
        parameters = sum(p.numel() for p in model.parameters())
        record |= {"parameters": parameters, "precision": str(mode), "precisions_tried": rates, "batch": BATCH}
        write_json(out / "training.json", record | {"peak_memory_mib": peak_memory()})

    mode = plain(json.loads((out / "training.json").read_text())["precisions_tried"])
    model.load_state_dict(torch.load(weights, weights_only=True))
    model = model.to(memory_format=mode.layout).eval()
    start = time.perf_counter()
    mixture = GaussianMixtureSampler(model, GaussianMixtureSamplerConfig(n_components=COMPONENTS))
    # Its sampler encodes and decodes all pictures; this does not count towards its ten minutes.
    mixture.fit(images if arguments.minutes >= 1 else images[:1000])
    fitted = time.perf_counter() - start
    for name, sampler, seconds in (("mixture", mixture, fitted), ("normal", NormalSampler(model), 0.0)):
        torch.manual_seed(arguments.seed)

        @torch.no_grad()
        def draw(first: int, count: int, sampler: NormalSampler | GaussianMixtureSampler = sampler) -> np.ndarray:
            return to_bytes(sampler.sample(count, batch_size=count), 0, 1)

        samples, record = sample(draw, arguments.samples, 250)
        record |= {
            "solver": f"{name} sampler",
            "evaluations": 1,
            "precision": str(mode),
            "fit_seconds": seconds,
        }
        write_samples(out / name, samples, record)


if __name__ == "__main__":
    main()
