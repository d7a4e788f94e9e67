"""The contract of a family's model, run on tiny models of the kind of space it is for."""

from __future__ import annotations

import importlib
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..core.config import Frozen
from ..core.errors import UserError
from ..core.modality import modalities
from ..core.model import Batch, GenerativeModel, Loss, Partial, Phase, Request
from ..core.noise import Noise
from ..core.space import Grid, Space, Tokens, TokenSequence
from .check_capabilities import check_capabilities
from .check_codec import check_values
from .examples import CLASSES, SPACES, canonical, example_batch
from .keywords import check_keywords
from .refusal import refusal

_EVALUATIONS = 48  # of a loss that is random, by which its fall is judged
_MIN_STEPS = 10  # with fewer the fall of a loss is not judged


def check_model(
    model_class: type[GenerativeModel],
    options: Frozen | Mapping[str, Any] | None = None,
    *,
    controls: Frozen | Mapping[str, Any] | None = None,
    spaces: Sequence[Space] = (),
    steps: int = 120,
    rate: float = 4e-3,
    tolerance: float = 1e-4,
) -> list[str]:
    """Check a model with and without a class condition; return what was checked.

    `spaces`: those to check; by default small ones of the kinds for which the family's `options.py` declares the model.
    Options and controls: an instance, fields, or none for the defaults. A model may refuse a space or a condition with
    a UserError, but not all of them. Each phase is trained for `steps` steps on one batch, in the order of
    `Phase.span`; the loss of a phase that runs alone must fall by three standard errors. Adversaries, which share their
    time, have a quarter of the steps, and their losses must stay finite.
    A condition reaches the network in the same way whatever the shape of an item: the model without a condition is
    checked in full on the first space of each kind, and elsewhere only where it cannot be conditioned on a class.
    `tolerance`: how far a sample may lie from itself in another batch, per unit of its scale; tokens must be equal.
    Raises AssertionError that says which promise is broken.
    """
    chosen = _settings(model_class.Options, options)
    steering = _settings(model_class.Controls, controls)
    _check_settings(model_class.Options, chosen)
    _check_settings(model_class.Controls, steering)
    for modality in modalities().values():
        check_keywords(model_class.Controls, modality, model_class.__name__)
    checked, refused = [], []
    kinds: set[type[Space]] = set()  # of which a space was checked in full without a condition
    for space in spaces or [space for kind in _kinds(model_class) for space in SPACES[kind]]:
        by_class = False
        for name, conditions in _conditions(model_class, space).items():
            try:
                torch.manual_seed(0)
                model = model_class(space, conditions, chosen)
            except UserError as error:
                refused.append(f"{space} {name}: refused ({error})")
                continue
            where = f"{model_class.__name__} on {space} {name}"
            alone = not conditions and (type(space) not in kinds or not by_class)
            in_full = alone or "label" in conditions
            by_class |= "label" in conditions
            falls = _train(model, steps if in_full else 3, rate, where)
            if in_full:
                _check_sampling(model, chosen, steering, tolerance, where)
                check_capabilities(model, where)
            else:
                _check_null(model, steering, tolerance, where)
            if alone:
                kinds.add(type(space))
            checked.append(f"{space} {name}: {falls}")
    assert checked, f"{model_class.__name__} refuses every space: {refused}"
    return checked + refused


def _kinds(model_class: type[GenerativeModel]) -> list[type[Space]]:
    """Return the kinds of space for which the options beside the model's module declare it."""
    package, _, module = model_class.__module__.rpartition(".")
    entries = importlib.import_module(f"{package}.options").MODELS
    kinds = [kind for kind, entry in entries.items() if entry.module == module]
    assert kinds, f"{package}.options.MODELS names no model in the module '{module}'"
    for kind in kinds:
        assert entries[kind].Options is model_class.Options, f"{package}.options.MODELS has other Options than {module}"
        assert entries[kind].Controls is model_class.Controls, f"{package}.options.MODELS has other Controls"
    return kinds


def _conditions(model_class: type[GenerativeModel], space: Space) -> dict[str, dict[str, Space]]:
    """Return the sets of conditions to check, each with what it is called in messages."""
    sets: dict[str, dict[str, Space]] = {}
    if model_class.supports_conditions:
        sets |= {"with a class": {"label": Tokens(CLASSES, (1,))}}
    sets |= {"without a condition": {}}
    if model_class.supports_conditions:
        sets |= {"with numbers": {"numbers": Grid(2)}}
    if model_class.supports_grid_conditions and isinstance(space, Grid) and space.size:
        sets["with a grid"] = {"low_res": Grid(1, tuple(side // 2 for side in space.size))}
    return sets


def _settings(kind: type[Frozen], value: Frozen | Mapping[str, Any] | None) -> Frozen:
    return value if isinstance(value, Frozen) else kind(**(value or {}))


def _check_settings(kind: type[Frozen], value: Frozen) -> None:
    name = f"{kind.__module__}.{kind.__name__}"
    try:
        kind.model_validate({"no_such_field": 1})
    except ValidationError:
        pass
    else:
        raise AssertionError(f"{name} accepts an unknown field")
    assert kind.model_validate(value.model_dump()) == value, f"{name} does not survive dump and validate"
    assert kind.model_validate_json(value.model_dump_json()) == value, f"{name} does not survive JSON"
    assert kind.model_json_schema(), f"{name} has no JSON schema"


def _spans(phases: Sequence[Phase]) -> Iterator[tuple[float, float, list[Phase]]]:
    """Yield the parts of the budget in which the same phases run: begin, end, and these phases."""
    bounds = sorted({bound for phase in phases for bound in phase.span})
    for first, last in pairwise(bounds):
        active = [phase for phase in phases if phase.span[0] <= first and last <= phase.span[1]]
        if active:
            yield first, last, active


def _train(model: GenerativeModel, steps: int, rate: float, where: str) -> str:
    batch = example_batch(model.space, model.conditions)
    phases = model.phases()
    names = [phase.name for phase in phases]
    assert len(set(names)) == len(names) > 0, f"{where}: the names of the phases are {names}"
    optimisers: dict[str, torch.optim.Optimizer] = {}
    falls = []
    for first, last, active in _spans(phases):
        for phase in active:
            if phase.span[0] == first:
                model.initialize(phase.name, iter([batch]))
            if phase.module not in optimisers:
                optimisers[phase.module] = _optimiser(model, phase, rate, where)
        untrained = _state(model)
        parts: dict[str, float] = {}
        model.train()
        count = steps if len(active) == 1 else max(3, steps // 4)
        for step in range(count):
            for phase in active:
                if step % phase.every == 0:
                    loss = _step(model, phase, batch, optimisers[phase.module], where)
                    parts |= {name: float(value) for name, value in loss.parts.items()}
            model.on_step_end(first + (last - first) * (step + 1) / count, step + 1.0, parts)
        if len(active) == 1 and steps >= _MIN_STEPS:
            falls.append(
                _check_fall(model, untrained, active[0], partial(model.on_step_end, last, steps, parts), where)
            )
    model.eval()
    if model.early_stopping:
        model.calibrate(iter([batch]))
    return ", ".join(falls)


def _state(model: GenerativeModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def _check_fall(
    model: GenerativeModel, untrained: dict[str, Tensor], phase: Phase, end: Callable[[], None], where: str
) -> str:
    """Return a loss before and after training. Raises AssertionError where it has not fallen.

    Both models are compared at the end of the phase, which `end` announces: some losses change with the progress.
    """
    batch, trained = example_batch(model.space, model.conditions), _state(model)
    losses = []
    for state in (untrained, trained):
        model.load_state_dict(state)
        end()
        losses.append(torch.tensor([model(batch, phase.name).total.item() for _ in range(_EVALUATIONS)]).double())
    model.load_state_dict(trained)
    before, after = losses
    error = math.sqrt((before.var().item() + after.var().item()) / _EVALUATIONS)
    assert before.mean() - after.mean() > 3 * error, (
        f"{where}: phase '{phase.name}' does not overfit one batch, its loss is {before.mean():.3g} before training "
        f"and {after.mean():.3g} after it, with a standard error of {error:.2g}"
    )
    return f"{phase.name} {before.mean():.3g} → {after.mean():.3g}"


def _optimiser(model: GenerativeModel, phase: Phase, rate: float, where: str) -> torch.optim.Optimizer:
    module = model.get_submodule(phase.module)
    parameters = dict(module.named_parameters())
    for name in phase.muon:
        assert name in parameters, f"{where}: phase '{phase.name}' has no parameter '{name}' for Muon to train"
        assert parameters[name].ndim > 1, f"{where}: Muon trains matrices, and '{name}' is a vector"
    return torch.optim.AdamW(module.parameters(), lr=rate, betas=phase.betas)


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
    gradients = [p.grad for p in model.get_submodule(phase.module).parameters() if p.grad is not None]
    assert gradients, f"{where}: the loss reaches no parameter of '{phase.module or 'the model'}'"
    assert all(gradient.isfinite().all() for gradient in gradients), f"{where}: a gradient is not finite"
    optimiser.step()
    return loss


def _sample(model: GenerativeModel, controls: Frozen, request: Request, where: str) -> Tensor:
    """Return the last draft, checked, with nothing after the ends of sequences."""
    space = model.space
    last: Partial | None = None
    with torch.no_grad():
        for draft in model.generate(request, controls):
            shape = (len(request), *space.shape)
            if isinstance(space, TokenSequence):
                shape = (len(request), *draft.x.shape[1:2])
            assert draft.x.shape == shape, f"{where}: a draft of shape {tuple(draft.x.shape)}, expected {shape}"
            assert draft.known.dtype == torch.bool, f"{where}: `known` is {draft.known.dtype}, expected bool"
            torch.broadcast_to(draft.known, shape)
            last = draft  # a draft is valid until the next
    assert last is not None, f"{where}: nothing was generated"
    assert last.known.all(), f"{where}: the last draft is not all known"
    x = last.x.clone()
    assert x.is_floating_point() == space.continuous, f"{where}: samples of type {x.dtype}"
    check_values(space, x, where)
    if isinstance(space, TokenSequence):
        assert (x[:, 0] == space.start).all(), f"{where}: a sequence does not begin with the start"
        assert (canonical(space, x)[:, 1:] != space.start).all(), f"{where}: a start inside a sequence"
    return canonical(space, x)


def _labels(model: GenerativeModel, labels: Sequence[int]) -> dict[str, Tensor]:
    return {name: torch.tensor(labels).reshape(-1, 1) for name in model.conditions}


def _same(space: Space, a: Tensor, b: Tensor, tolerance: float) -> bool:
    if not a.is_floating_point():
        width = max(a.shape[-1], b.shape[-1])
        return torch.equal(canonical(space, a, width), canonical(space, b, width))
    return bool((a - b).abs().max() <= tolerance * (1 + b.abs().max()))


def _check_sampling(model: GenerativeModel, options: Frozen, controls: Frozen, tolerance: float, where: str) -> None:
    labels, noise, space = [0, 1, 2, 0, 1], Noise.consecutive(7, 5), model.space
    together = _sample(model, controls, Request(noise, _labels(model, labels)), where)
    alone = _sample(model, controls, Request(Noise(noise.seeds[3:4]), _labels(model, labels[3:4])), where)
    assert _same(space, alone, together[3:4], tolerance), f"{where}: a sample is not the same alone and in a batch"
    other = _sample(model, controls, Request(Noise.consecutive(50, 5), _labels(model, labels)), where)
    assert not _same(space, other, together, tolerance), f"{where}: other seeds give the same samples"
    if model.conditions:
        moved = _sample(model, controls, Request(noise, _labels(model, [2, 0, 1, 1, 0])), where)
        assert not _same(space, moved, together, tolerance), f"{where}: the condition does not change the output"
        _check_null(model, controls, tolerance, where)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_file({name: value.clone().contiguous() for name, value in model.state_dict().items()}, file)
        restored = type(model)(model.space, model.conditions, options)
        restored.load_state_dict(load_file(file))
    again = _sample(restored.eval(), controls, Request(noise, _labels(model, labels)), where)
    assert _same(space, again, together, 1e-6), f"{where}: another sample after save and load"
    if model.supports_given:
        _check_given(model, controls, Request(noise, _labels(model, labels)), where)


def _check_null(model: GenerativeModel, controls: Frozen, tolerance: float, where: str) -> None:
    """The null of a condition, a negative token or NaN, is the same as its absence, and is not any value."""
    noise = Noise.consecutive(7, 4)
    values = example_batch(model.space, model.conditions, 4).condition
    nulls = {
        name: torch.full_like(value, torch.nan if value.is_floating_point() else -1) for name, value in values.items()
    }
    absent = _sample(model, controls, Request(noise), where)
    null = _sample(model, controls, Request(noise, nulls), where)
    assert _same(model.space, null, absent, tolerance), f"{where}: a null condition is not the same as an absent one"
    _sample(model, controls, Request(noise, values), where)


def _check_given(model: GenerativeModel, controls: Frozen, request: Request, where: str) -> None:
    """What is given comes back. A model may refuse gaps, or all, if it names the option that it needed in training."""
    x = example_batch(model.space, model.conditions, len(request)).x
    gaps = torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.5
    beginning = (torch.arange(x[0].numel()) < max(1, x[0].numel() // 4)).reshape(x[0].shape).expand_as(x)
    if isinstance(model.space, TokenSequence):
        gaps[:, 0] = True
    filled = {}
    for name, known in (("beginning", beginning), ("gaps", gaps)):
        part = replace(request, given=Partial(x, known))
        refused = refusal(UserError, partial(next, model.generate(part, controls)))
        if refused is None:
            filled[name] = (_sample(model, controls, part, where), known)
            continue
        helpful = "options." in refused or "--family" in refused
        assert helpful, f"{where}: refuses {name} without naming an option or a family that can: {refused}"
    assert "gaps" not in filled or "beginning" in filled, f"{where}: fills gaps, but refuses a beginning"
    for sample, known in filled.values():
        width = max(sample.shape[-1], x.shape[-1])
        padded, expected = canonical(model.space, sample, width), canonical(model.space, x, width)
        assert torch.equal(padded[..., : x.shape[-1]][known], expected[..., : x.shape[-1]][known].to(sample.dtype)), (
            f"{where}: what was given does not come back"
        )
