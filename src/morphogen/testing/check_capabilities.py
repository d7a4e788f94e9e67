"""The contracts of a model's capabilities, run on a model that was trained on `examples.example_batch`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.model import (
    Batch,
    Denoiser,
    EmbeddingModel,
    Evidence,
    FieldwiseModel,
    GenerativeModel,
    LatentModel,
    LikelihoodModel,
    Request,
)
from ..core.noise import Noise
from ..core.space import Grid, Row, TokenSequence
from .examples import canonical, example_batch

_COUNT = 4


def check_capabilities(model: GenerativeModel, where: str) -> None:
    """Check every capability that the model declares. Raises AssertionError that says which promise is broken."""
    for capability, check in _CHECKS.items():
        if isinstance(model, capability):
            check(model, where)
    if model.supports_evidence:
        _check_evidence(model, where)
    if model.supports_token_constraints:
        _check_token_constraints(model, where)


def _batch(model: GenerativeModel, count: int = _COUNT) -> Batch:
    batch = example_batch(model.space, model.conditions)
    return Batch(batch.x[:count], {name: value[:count] for name, value in batch.condition.items()})


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) if not a.is_floating_point() else torch.allclose(a, b, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def _check_denoiser(model: GenerativeModel, where: str) -> None:
    assert isinstance(model, Denoiser)
    batch = _batch(model)
    t = torch.full((_COUNT, *[1] * len(model.space.shape)), 0.5)
    prediction = model.predict(batch.x, t, batch.condition)
    for name, value in prediction._asdict().items():
        assert value.shape == batch.x.shape, f"{where}: predicted {name} of shape {tuple(value.shape)}"
        assert value.isfinite().all(), f"{where}: predicted {name} not finite"


def _check_latents(model: GenerativeModel, where: str) -> None:
    assert isinstance(model, LatentModel)
    batch, first, noise = _batch(model), _batch(model, 1), Noise.consecutive(3, _COUNT)
    with torch.no_grad():
        z = model.encode(batch)
        assert z.shape == (_COUNT, *model.latent.shape), f"{where}: latents {tuple(z.shape)}, not {model.latent.shape}"
        assert torch.equal(z, model.encode(batch)), f"{where}: encode is not deterministic"
        assert _same(model.encode(first), z[:1]), f"{where}: a latent is not the same alone and in a batch"
        decoded = model.decode(z, batch.condition, noise)
        alone = model.decode(z[:1], first.condition, Noise(noise.seeds[:1]))
    shape = decoded.shape if isinstance(model.space, TokenSequence) else batch.x.shape
    assert decoded.shape == shape, f"{where}: decoded {tuple(decoded.shape)}, expected {tuple(shape)}"
    width = max(alone.shape[-1], decoded.shape[-1])
    pair = canonical(model.space, alone, width), canonical(model.space, decoded[:1], width)
    assert _same(*pair), f"{where}: a decoded item is not the same alone and in a batch"
    if isinstance(model.space, Grid) and isinstance(model.latent, Grid):
        z = z.clone().requires_grad_()
        model.decode(z, batch.condition, noise).square().sum().backward()
        assert z.grad is not None, f"{where}: no gradient passes through decode"
        assert z.grad.abs().sum() > 0, f"{where}: no gradient passes through decode"


@torch.no_grad()
def _check_likelihood(model: GenerativeModel, where: str) -> None:
    assert isinstance(model, LikelihoodModel)
    batch, noise = _batch(model), Noise.consecutive(0, _COUNT)
    nats = model.log_likelihood(batch, noise)
    assert nats.shape == (_COUNT,), f"{where}: log-likelihood of shape {tuple(nats.shape)}, expected {(_COUNT,)}"
    assert nats.isfinite().all(), f"{where}: log-likelihood {nats.tolist()}"
    alone = model.log_likelihood(_batch(model, 1), Noise(noise.seeds[:1]))
    assert _same(alone, nats[:1]), f"{where}: a log-likelihood is not the same alone and in a batch"
    changed = model.log_likelihood(Batch(_corrupted(model, batch.x), batch.condition), noise)
    assert changed.mean() < nats.mean(), f"{where}: corrupted items are as likely as those it was trained on"


def _corrupted(model: GenerativeModel, x: Tensor) -> Tensor:
    """Return items unlike those of training: far off, or with every token and cell changed."""
    if isinstance(model.space, Grid):
        return 1.5 - x
    if isinstance(model.space, Row):
        return (x + 1) % torch.tensor(_sizes(model))
    if isinstance(model.space, TokenSequence):
        inner = min(model.space.start, model.space.end)
        return torch.where(x < inner, (x + 1) % inner, x)
    return (x + 1) % model.space.vocab


@torch.no_grad()
def _check_embeddings(model: GenerativeModel, where: str) -> None:
    assert isinstance(model, EmbeddingModel)
    embeddings = model.embeddings(_batch(model))
    assert embeddings.ndim == 2, f"{where}: embeddings of shape {tuple(embeddings.shape)}, expected (B, d)"
    assert len(embeddings) == _COUNT, f"{where}: {len(embeddings)} embeddings of {_COUNT} items"
    assert embeddings.dtype == torch.float32, f"{where}: embeddings of type {embeddings.dtype}, expected float32"
    assert embeddings.isfinite().all(), f"{where}: an embedding is not finite"
    alone = model.embeddings(_batch(model, 1))
    assert _same(alone, embeddings[:1]), f"{where}: an embedding is not the same alone and in a batch"


@torch.no_grad()
def _check_fieldwise(model: GenerativeModel, where: str) -> None:
    assert isinstance(model, FieldwiseModel)
    x = _batch(model, 32).x
    nll = model.field_nll(x)
    assert nll.shape == x.shape, f"{where}: field_nll of shape {tuple(nll.shape)}, expected {tuple(x.shape)}"
    assert nll.isfinite().all(), f"{where}: field_nll is not finite"
    assert (nll > -1e-4).all(), f"{where}: field_nll is negative, and probabilities are at most 1"
    assert _same(model.field_nll(x[:1]), nll[:1]), f"{where}: field_nll is not the same alone and in a batch"
    wrong = x.clone()
    wrong[:, 0] = (x[:, 0] + 1) % _sizes(model)[0]
    assert model.field_nll(wrong)[:, 0].mean() > nll[:, 0].mean(), f"{where}: a wrong cell is not less likely"


def _sizes(model: GenerativeModel) -> list[int]:
    assert isinstance(model.space, Row)
    return [field.size for field in model.space.fields]


class _Different:
    """The first two fields are never in cells of the same number."""

    fields = frozenset((0, 1))

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes

    def allowed(self, field: int, x: Tensor, known: Tensor) -> Tensor | None:
        other = 1 - field
        return (torch.arange(self.sizes[field], device=x.device) != x[:, other, None]) | ~known[:, other, None]


@torch.no_grad()
def _check_evidence(model: GenerativeModel, where: str) -> None:
    """A likelihood that is 0 for all cells but one decides its field; constraints hold for every sample."""
    assert isinstance(model.space, Row), f"{where}: supports_evidence, but items are no rows"
    only = torch.zeros(_sizes(model)[2])
    only[1] = 1
    evidence = Evidence({2: only}, (_Different(_sizes(model)),))
    *_, draft = model.generate(Request(Noise.consecutive(0, 32), evidence=evidence), model.Controls())
    assert (draft.x[:, 2] == 1).all(), f"{where}: a sample contradicts the evidence on its field"
    assert (draft.x[:, 0] != draft.x[:, 1]).all(), f"{where}: a sample breaks a constraint"


class _Only:
    """All tokens are the same one, until the end."""

    def __init__(self, space: TokenSequence, token: int) -> None:
        self.mask = torch.zeros(space.vocab, dtype=torch.bool)
        self.mask[[token, space.end]] = True

    def allowed(self) -> Tensor | None:
        return self.mask

    def advance(self, token: int) -> None:
        pass

    def limit(self, tokens: int) -> None:
        pass

    def fork(self) -> _Only:
        return self


@torch.no_grad()
def _check_token_constraints(model: GenerativeModel, where: str) -> None:
    """Token constraints are obeyed, or refused."""
    space = model.space
    assert isinstance(space, TokenSequence)
    constraints = [[_Only(space, 4)] for _ in range(3)]
    request = Request(Noise.consecutive(0, 3), token_constraints=constraints)
    try:
        *_, draft = model.generate(request, model.Controls())
    except UserError:
        return
    allowed = (draft.x[:, 1:] == 4) | (draft.x[:, 1:] == space.end)
    assert allowed.all(), f"{where}: a sample breaks a token constraint"


_CHECKS: Mapping[type, Callable[[GenerativeModel, str], None]] = {
    Denoiser: _check_denoiser,
    LatentModel: _check_latents,
    LikelihoodModel: _check_likelihood,
    EmbeddingModel: _check_embeddings,
    FieldwiseModel: _check_fieldwise,
}
