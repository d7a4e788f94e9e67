"""The likelihood of items under a model, in nats and in bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .artifact import to_cpu
from .core.errors import UserError
from .core.model import LikelihoodModel
from .core.noise import Noise
from .latent_codec import LatentCodec
from .pipeline import Pipeline


def log_likelihood(
    pipeline: Pipeline, items: Any, *, condition: Mapping[str, Any] | None = None, seed: int = 0
) -> Tensor:
    """Return the log-likelihood of each item in nats, `(B,)`: exact or a lower bound, as `model.exact` says.

    Of a model of an autoencoder's tokens it is the likelihood of these tokens. Item i has the seed `seed + i`. Raises
    UserError where the family has no likelihood, or only one of latents that are numbers, and on conditions as
    `Pipeline.encode_conditions` does.
    """
    artifact, codec = pipeline.artifact, pipeline.codec
    if not isinstance(artifact.model, LikelihoodModel):
        raise UserError(f"the family '{pipeline.family}' has no likelihood")
    if isinstance(codec, LatentCodec) and codec.continuous:
        raise UserError("the likelihood of latents is a density of these, and says nothing of items in nats")
    x = codec.encode(codec.align(items))
    parts, first = [], 0
    for batch in artifact.batches(x, pipeline.encode_conditions(condition or {}, len(x))):
        noise = Noise.consecutive(seed + first, len(batch.x))
        parts.append(to_cpu(artifact.model.log_likelihood(batch, noise)))
        first += len(batch.x)
    return torch.cat(parts)


def bits_per_dimension(
    pipeline: Pipeline, items: Any, *, condition: Mapping[str, Any] | None = None, seed: int = 0
) -> Tensor:
    """Return −log₂ of the likelihood over the number of raw values, `(B,)`: pixels times colours, bytes, tokens.

    An upper bound where the likelihood is a lower one. Raises UserError where there is none, or only a density.
    """
    space = pipeline.model.space
    if not space.step:
        raise UserError("values that are not quantised have a density, and so no number of bits")
    nats = log_likelihood(pipeline, items, condition=condition, seed=seed)
    return -nats / (math.log(2) * pipeline.codec.num_values(pipeline.codec.align(items)))
