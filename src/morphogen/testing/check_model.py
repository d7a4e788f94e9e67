"""The contract of a family, run on tiny models of every kind of space it accepts."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..core.config import Frozen
from ..core.errors import UserError
from ..core.model import Batch, Denoiser, GenerativeModel, LatentModel, LikelihoodModel, Loss, Partial, Phase, Request
from ..core.noise import Noise
from ..core.space import Continuous, Space, Tokens

SPACES: tuple[Space, ...] = (
    Continuous(4),
    Continuous(7, choices=(3, 2)),
    Continuous(2, (16,)),
    Continuous(1, (8, 8)),
    Tokens(5, (8,)),
    Tokens(5, (4, 4)),
    Tokens((3, 4, 5, 97, 8), (5,), parts=(1, 2), even=2),
)
CLASSES = 3


def check_model(
    model_class: type[GenerativeModel],
    options: Frozen | Mapping[str, Any] | None = None,
    *,
    controls: Frozen | Mapping[str, Any] | None = None,
    spaces: Sequence[Space] = SPACES,
    steps: int = 120,
    rate: float = 4e-3,
    tolerance: float = 1e-4,
) -> list[str]:
    """Check a family on each kind of space it accepts, with a class condition and without; what was checked.

    Options and controls: an instance, fields, or none for the defaults. A model may refuse a space or a condition with
    a UserError, but not all of them. Each phase is trained for `steps` steps on one batch, in the order of
    `Phase.during`; the loss of a phase that runs alone must fall from the first third of its steps to the last by three
    standard errors (adversaries share their time: theirs must stay finite). `tolerance`: how far a sample may lie from
    itself in another batch, per unit of its scale; tokens must be equal. Raises AssertionError that says which promise
    is broken.
    """
    chosen = _settings(model_class.Options, options)
    steering = _settings(model_class.Controls, controls)
    _check_settings(model_class.Options, chosen)
    _check_settings(model_class.Controls, steering)
    done = []
    for space in spaces:
        if not isinstance(space, model_class.accepts):
            continue
        for conditions in ({}, {"label": Tokens(CLASSES, (1,))}):
            try:
                torch.manual_seed(0)
                model = model_class(space, conditions, chosen)
            except UserError as refusal:
                done.append(f"{space} {'with' if conditions else 'without'} a class: refused ({refusal})")
                continue
            where = f"{model_class.__name__} on {space}" + (" with a class" if conditions else "")
            falls = _train(model, steps, rate, where)
            _check_sampling(model, chosen, steering, tolerance, where)
            _check_capabilities(model, where)
            done.append(f"{space} {'with' if conditions else 'without'} a class: {falls}")
    accepted = [line for line in done if "refused" not in line]
    assert accepted, f"{model_class.__name__} accepts {model_class.accepts} but refuses every space tried: {done}"
    return done


def _settings(kind: type[Frozen], value: Frozen | Mapping[str, Any] | None) -> Frozen:
    return value if isinstance(value, Frozen) else kind(**(value or {}))


def _check_settings(kind: type[Frozen], value: Frozen) -> None:
    name = f"{kind.__module__}.{kind.__name__}"
    try:
        kind.model_validate({"no_such_field": 1})
    except ValidationError:
        pass
    else:
        raise AssertionError(f"{name} takes an unknown field without a word")
    assert kind.model_validate(value.model_dump()) == value, f"{name} does not survive dump and validate"
    assert kind.model_validate_json(value.model_dump_json()) == value, f"{name} does not survive JSON"
    assert kind.model_json_schema(), f"{name} has no JSON schema"


def example_batch(space: Space, conditions: Mapping[str, Space], count: int = 96) -> Batch:
    """One batch of made-up items in which the class decides most of x: a level, or a symbol."""
    random = torch.Generator().manual_seed(1)
    label = torch.arange(count) % CLASSES
    column = label.reshape(-1, *[1] * len(space.shape))
    if isinstance(space, Tokens):
        vocab = space.vocab if isinstance(space.vocab, int) else min(space.vocab)
        other = torch.randint(vocab, (count, *space.shape), generator=random)
        x = torch.where(torch.rand(other.shape, generator=random) < 0.2, other, column % vocab)
    else:
        x = (column - 1) * 0.6 + 0.1 * torch.randn(count, *space.shape, generator=random)
        begin = space.channels - sum(space.choices)
        for size in space.choices:
            x[:, begin : begin + size] = F.one_hot(label % size, size).to(x.dtype)
            begin += size
    return Batch(x, {name: label.reshape(-1, 1) for name in conditions})


def _spans(phases: Sequence[Phase]) -> Iterator[tuple[float, float, list[Phase]]]:
    bounds = sorted({bound for phase in phases for bound in phase.during})
    for first, last in pairwise(bounds):
        active = [phase for phase in phases if phase.during[0] <= first and last <= phase.during[1]]
        if active:
            yield first, last, active


def _train(model: GenerativeModel, steps: int, rate: float, where: str) -> str:
    batch = example_batch(model.space, model.conditions)
    phases = model.phases()
    names = [phase.name for phase in phases]
    assert len(set(names)) == len(names) > 0, f"{where}: the names of the phases are {names}"
    optimisers: dict[str, torch.optim.Optimizer] = {}
    begun, falls = set(), []
    for first, last, active in _spans(phases):
        curves: dict[str, list[float]] = {phase.name: [] for phase in active}
        seen: dict[str, float] = {}
        for phase in active:
            if phase.name not in begun:
                model.begin(phase.name, iter([batch]))
                begun.add(phase.name)
            if phase.trains not in optimisers:
                part = model.get_submodule(phase.trains)
                optimisers[phase.trains] = torch.optim.AdamW(part.parameters(), lr=rate, betas=phase.betas)
        model.train()
        for step in range(steps):
            for phase in active:
                if step % phase.every == 0:
                    loss = _step(model, phase, batch, optimisers[phase.trains], where)
                    curves[phase.name].append(loss.total.item())
                    seen |= {name: float(value) for name, value in loss.parts.items()}
            model.adapt(first + (last - first) * (step + 1) / steps, step + 1.0, seen)
        for phase in active:
            curve = torch.tensor(curves[phase.name], dtype=torch.float64)
            window = max(2, len(curve) // 3)
            start, end = curve[:window].mean().item(), curve[-window:].mean().item()
            # Of the noise alone, from steps that follow each other: the fall itself is none (von Neumann).
            noise = sum(part.diff().square().mean().item() / 2 for part in (curve[:window], curve[-window:]))
            error = math.sqrt(noise / window)
            if len(active) == 1:
                assert start - end > 3 * error, (
                    f"{where}: phase '{phase.name}' does not overfit one batch, its loss is {start:.3g} in the first "
                    f"third and {end:.3g} in the last third of {len(curve)} steps, with a standard error of {error:.2g}"
                )
            falls.append(f"{phase.name} {start:.3g} → {end:.3g}")
    model.eval()
    return ", ".join(falls)


def _step(model: GenerativeModel, phase: Phase, batch: Batch, optimiser: torch.optim.Optimizer, where: str) -> Loss:
    where = f"{where}, phase '{phase.name}'"
    model.zero_grad(set_to_none=True)
    loss = model(batch, phase.name)
    assert isinstance(loss, Loss), f"{where}: forward returned a {type(loss).__name__}, expected a Loss"
    assert loss.total.shape == (), f"{where}: the loss has shape {tuple(loss.total.shape)}, expected a scalar"
    assert math.isfinite(loss.total.item()), f"{where}: the loss is {loss.total.item()}"
    for name, value in loss.parts.items():
        assert not value.requires_grad, f"{where}: the part '{name}' of the loss is not detached"
    loss.total.backward()
    gradients = [p.grad for p in model.get_submodule(phase.trains).parameters() if p.grad is not None]
    assert gradients, f"{where}: the loss reaches no parameter of '{phase.trains or 'the model'}'"
    assert all(gradient.isfinite().all() for gradient in gradients), f"{where}: a gradient is not finite"
    optimiser.step()
    return loss


def _sample(model: GenerativeModel, controls: Frozen, request: Request, where: str) -> Tensor:
    shape = (len(request), *model.space.shape)
    drafts: list[Partial] = []
    with torch.no_grad():
        for draft in model.generate(request, controls):
            assert draft.x.shape == shape, f"{where}: a draft of shape {tuple(draft.x.shape)}, expected {shape}"
            assert draft.known.dtype == torch.bool, f"{where}: `known` is {draft.known.dtype}, expected bool"
            torch.broadcast_to(draft.known, shape)
            drafts = [draft]  # a draft is valid until the next
    assert drafts, f"{where}: nothing was generated"
    x = drafts[0].x.clone()
    assert drafts[0].known.all(), f"{where}: the last draft is not all known"
    if isinstance(model.space, Tokens):
        assert not x.is_floating_point(), f"{where}: tokens of type {x.dtype}"
        vocab = torch.as_tensor(model.space.vocab)
        assert (x >= 0).all(), f"{where}: a token below 0"
        assert (x < vocab.reshape(model.space.size if vocab.ndim else ())).all(), f"{where}: a token beyond the vocab"
    else:
        assert x.isfinite().all(), f"{where}: a sample is not finite"
    return x


def _labels(model: GenerativeModel, labels: Sequence[int]) -> dict[str, Tensor]:
    return {name: torch.tensor(labels).reshape(-1, 1) for name in model.conditions}


def _same(a: Tensor, b: Tensor, tolerance: float) -> bool:
    if not a.is_floating_point():
        return torch.equal(a, b)
    return bool((a - b).abs().max() <= tolerance * (1 + b.abs().max()))


def _check_sampling(model: GenerativeModel, options: Frozen, controls: Frozen, tolerance: float, where: str) -> None:
    labels = [0, 1, 2, 0, 1]
    noise = Noise.count(7, 5)
    together = _sample(model, controls, Request(noise, _labels(model, labels)), where)
    alone = _sample(model, controls, Request(Noise(noise.seeds[3:4]), _labels(model, labels[3:4])), where)
    assert _same(alone, together[3:4], tolerance), f"{where}: a sample is not the same alone and in a batch"
    other = _sample(model, controls, Request(Noise.count(50, 5), _labels(model, labels)), where)
    assert not _same(other, together, tolerance), f"{where}: other seeds give the same samples"
    if model.conditions:
        moved = _sample(model, controls, Request(noise, _labels(model, [2, 0, 1, 1, 0])), where)
        assert not _same(moved, together, tolerance), f"{where}: the condition does not change the output"
        _sample(model, controls, Request(noise), where)  # an absent condition is the null

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_file({name: value.clone().contiguous() for name, value in model.state_dict().items()}, file)
        restored = type(model)(model.space, model.conditions, options)
        restored.load_state_dict(load_file(file))
    restored.eval()
    again = _sample(restored, controls, Request(noise, _labels(model, labels)), where)
    assert _same(again, together, 1e-6), f"{where}: another sample after save and load"

    if model.fills:
        x = example_batch(model.space, model.conditions, 5).x
        known = torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.5
        request = Request(noise, _labels(model, labels), given=Partial(x, known))
        try:
            filled = _sample(model, controls, request, where)
        except UserError:
            if getattr(options, "fill", 0):
                raise
            return  # it was not trained to
        assert torch.equal(filled[known], x[known].to(filled.dtype)), f"{where}: what was given does not come back"


def _check_capabilities(model: GenerativeModel, where: str) -> None:
    """A capability may be refused for some space with a UserError."""
    for check in (_check_denoiser, _check_latents, _check_likelihood):
        with contextlib.suppress(UserError):
            check(model, where)


def _check_denoiser(model: GenerativeModel, where: str) -> None:
    batch = example_batch(model.space, model.conditions, 4)
    if isinstance(model, Denoiser):
        t = torch.full((4, *[1] * len(model.space.shape)), 0.5)
        prediction = model.predict(batch.x, t, batch.condition)
        for name, value in prediction._asdict().items():
            assert value.shape == batch.x.shape, f"{where}: predicted {name} of shape {tuple(value.shape)}"
            assert value.isfinite().all(), f"{where}: predicted {name} not finite"


def _check_latents(model: GenerativeModel, where: str) -> None:
    batch = example_batch(model.space, model.conditions, 4)
    first = Batch(batch.x[:1], {name: value[:1] for name, value in batch.condition.items()})
    if isinstance(model, LatentModel):
        z = model.encode(batch)
        assert z.shape == (4, *model.latent.shape), f"{where}: latents {tuple(z.shape)}, declared {model.latent.shape}"
        assert torch.equal(z, model.encode(batch)), f"{where}: encode is not deterministic"
        assert _same(model.encode(first), z[:1], 1e-4), f"{where}: a latent is not the same alone and in a batch"
        decoded = model.decode(z, batch.condition)
        assert decoded.shape == batch.x.shape, f"{where}: decoded {tuple(decoded.shape)}"


def _check_likelihood(model: GenerativeModel, where: str) -> None:
    batch = example_batch(model.space, model.conditions, 4)
    if isinstance(model, LikelihoodModel):
        nats = model.log_likelihood(batch, Noise.count(0, 4))
        assert nats.shape == (4,), f"{where}: log-likelihood of shape {tuple(nats.shape)}, expected (4,)"
        assert nats.isfinite().all(), f"{where}: log-likelihood {nats.tolist()}"
