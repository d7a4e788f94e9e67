"""The contract of a family: phases of training whose loss is `forward`, and generation that yields drafts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .config import Frozen
from .noise import Noise
from .space import Space


class Partial(NamedTuple):
    """`x` of which only the `known` entries are fixed: an observation on the way in, a draft on the way out."""

    x: Tensor  # (B, *shape)
    known: Tensor  # bool, broadcastable to x

    def select(self, part: slice | Tensor) -> Partial:
        """Return what is known of some of the items; `known` may be the same for all of them."""
        known = self.known if len(self.known) == 1 else self.known[part]
        return Partial(self.x[part], known)


class Batch(NamedTuple):
    """What a loss reads. An absent condition, or a negative token in one, is the null condition."""

    x: Tensor  # (B, *shape)
    condition: dict[str, Tensor] = {}  # (B, *shape of that condition's space)


class Loss(NamedTuple):
    """`total` is what is minimised (a mean over items); `parts` are detached figures worth a curve."""

    total: Tensor
    parts: dict[str, Tensor] = {}


class Prediction(NamedTuple):
    """A denoiser's estimate of the clean data in a noisy x, and of the noise."""

    data: Tensor
    noise: Tensor


Predict = Callable[[Tensor, Tensor], Prediction]  # (x, t) with t broadcastable against x


class TokenConstraint(Protocol):
    """What the tokens of one sample must obey: a grammar, a stop string. It remembers the tokens so far."""

    def allowed(self) -> Tensor | None:
        """Return which tokens may come next, bool `(vocab,)`, at least one of them; None: all."""

    def advance(self, token: int) -> None:
        """Take note of the next token, sampled or given."""

    def limit(self, tokens: int) -> None:
        """Take note, before the first, that at most so many tokens follow. Raises UserError where they are too few."""

    def fork(self) -> TokenConstraint:
        """Return a copy that continues independently."""


class FieldConstraint(Protocol):
    """A relation between fields of a row that every sample must satisfy."""

    fields: frozenset[int]  # that it relates

    def allowed(self, field: int, x: Tensor, known: Tensor) -> Tensor | None:
        """Return which cells of `field` are consistent with those of x `(B, F)` that are `known` `(B, F)`.

        Bool `(B, size of the field)`, or `(1, size)`; None: all.
        """


@dataclass(frozen=True, eq=False)
class Evidence:
    """What rows are conditioned on: for some fields the likelihood P(condition holds | cell), `(size,)` each.

    `constraints` hold for all rows, whatever the condition.
    """

    likelihoods: Mapping[int, Tensor] = dataclass_field(default_factory=dict)
    constraints: Sequence[FieldConstraint] = ()


@dataclass(frozen=True)
class Request:
    """What a batch of samples has to satisfy, one sample per seed in `noise`.

    What a caller may save and publish stands in Controls; what it may not (masks, keys, callables) stands here.
    """

    noise: Noise
    condition: Mapping[str, Tensor] = dataclass_field(default_factory=dict)
    given: Partial | None = None
    token_constraints: Sequence[Sequence[TokenConstraint]] = ()  # of each sample, where there are any
    evidence: Evidence | None = None  # the same for all samples
    drafts: bool = False  # whether drafts before the last are wanted, where making them costs something
    parsed: Any = None  # the codec's own, for `Codec.finish`; the same for all samples

    def __len__(self) -> int:
        return len(self.noise)

    def split(self, size: int) -> Iterator[Request]:
        """Yield requests for at most `size` of the samples each, in order."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield replace(
                self,
                noise=Noise(self.noise.seeds[part], self.noise.device),
                condition={name: value[part] for name, value in self.condition.items()},
                given=self.given and self.given.select(part),
                token_constraints=self.token_constraints[part],
            )


@dataclass(frozen=True)
class Phase:
    """One loss and the module it trains.

    `module` names a submodule ("" is the whole model); each has one optimiser: Muon for the parameters named in `muon`
    (within the module; see `nn.hidden_matrices`), AdamW with `betas` for all others. `every` is lazy regularisation:
    the phase runs on each such step. `span` is the share of the budget in which it runs: at its end the module takes
    its averaged weights and is frozen. `space` is what the module models, None: the model's space; the probe sizes the
    network by it. The peak rate `lr`, the gradient norm `clip`, the decoupled `weight_decay`, and as shares of the span
    `decay_start`, after which the rate falls, and `ema_half_life`, the half-life of the averaged weights, are this
    loss's defaults; TrainOptions override them. Phases of one module share its optimiser, betas, weight decay and
    half-life.
    """

    name: str = "model"
    module: str = ""
    every: int = 1
    span: tuple[float, float] = (0.0, 1.0)
    space: Space | None = None
    muon: frozenset[str] = frozenset()
    betas: tuple[float, float] = (0.9, 0.99)
    lr: float = 2e-3
    clip: float = 1.0
    weight_decay: float = 0.0
    decay_start: float = 0.3
    ema_half_life: float = 0.05


class GenerativeModel(nn.Module, ABC):
    """A distribution over a space, given conditions. Subclasses are final: to change one, wrap it.

    A family declares in `options.py` which model it has for which kind of space, see `plugins.ModelEntry`.
    """

    Options: ClassVar[type[Frozen]]
    Controls: ClassVar[type[Frozen]]
    supports_given: bool = False  # `request.given`
    supports_evidence: ClassVar[bool] = False  # `request.evidence`
    supports_token_constraints: ClassVar[bool] = False  # `request.token_constraints`
    supports_conditions: ClassVar[bool] = True  # classes and vectors of numbers, at training time
    supports_grid_conditions: ClassVar[bool] = False  # grids, such as a picture at a low resolution
    early_stopping: ClassVar[bool] = False  # its loss on validation items chooses the weights
    no_packing: ClassVar[bool] = False  # a training example never holds a second item
    initialize_items: ClassVar[int] = 10_000  # most items that `initialize` reads, spread over all
    min_steps: ClassVar[int] = 1500  # that training should have: the probe chooses the batch by it
    preferred_steps: ClassVar[int] = 0  # up to which more steps are worth more than a larger batch
    min_steps_per_epoch: ClassVar[int] = 1  # the probe chooses no batch with fewer
    fixed_size: ClassVar[bool] = False  # the probe does not choose its size
    max_epochs: ClassVar[float] = 0.0  # after which training ends before its budget; 0: never
    min_tokens_per_parameter: ClassVar[float] = 0.0  # below it the probe picks a smaller network
    full_size: ClassVar[float] = 0.0  # parameters below which a network is worth its size with fewer items; 0: none

    def __init__(self, space: Space, conditions: Mapping[str, Space], options: Any) -> None:
        super().__init__()
        self.space, self.conditions, self.options = space, dict(conditions), options

    @property
    def parameter_count(self) -> int:
        """The number of all parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @classmethod
    def resolve_options(cls, options: Any, space: Space, items: int) -> Any:
        """Return the options with every None that depends on the space or the number of training items replaced."""
        return options

    def phases(self) -> Sequence[Phase]:
        """Return the phases of training, in the order in which they run within a step."""
        return (Phase(),)

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        """Set what is computed from data; called once before a phase's first step. What it keeps is a buffer."""

    def on_step_end(self, progress: float, epochs: float, losses: Mapping[str, float]) -> None:
        """Adapt between steps, equally on all ranks. What it keeps is a buffer.

        `progress` is the share of the budget spent, `epochs` how often each training item has been read, and `losses`
        are the parts of the step's losses.
        """

    def calibrate(self, batches: Iterable[Batch], seconds: float | None = None) -> None:
        """Fit to validation items after training, equally on all ranks; called where `early_stopping` is set.

        Where `seconds` are given, it takes about as long at most.
        """

    @abstractmethod
    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """Return the training loss of a phase; it is `forward` so that DDP, FSDP and compile wrap it."""

    @abstractmethod
    def generate(self, request: Request, controls: Any) -> Iterator[Partial]:
        """Yield full-shaped drafts; the last one is all known and is the sample. A draft is valid until the next."""

    def void_controls(self, controls: Any) -> dict[str, str]:
        """Return the controls that this model does not read, each with what makes it void, such as "prior normal".

        What other controls make void stands in their `read_if`.
        """
        return {} if self.conditions else {"guidance": "a model without conditions"}

    def stored_data(self) -> Sequence[str]:
        """Return which parts of the training data can be read from the model as they are, in words; empty: none."""
        return ()

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


class Denoiser(ABC):
    """Capability: separates data and noise at any noise level; guidance, inversion and distillation need it."""

    @abstractmethod
    def predict(self, x: Tensor, t: Tensor, condition: Mapping[str, Tensor]) -> Prediction:
        """Return predicted data and noise at x `(B, *shape)`; t, in the schedule's own time, broadcasts against x."""


class LatentModel(ABC):
    """Capability: a latent space with an encoder (deterministic) and a differentiable decoder."""

    latent: Space

    @abstractmethod
    def encode(self, batch: Batch) -> Tensor:
        """Return the latent of each item, `(B, *latent.shape)`."""

    @abstractmethod
    def decode(self, z: Tensor, condition: Mapping[str, Tensor], noise: Noise) -> Tensor:
        """Return an item of each latent, `(B, *space.shape)`; a decoder that samples does so from `noise`."""


class EmbeddingModel(ABC):
    """Capability: an embedding of each item, for models without a latent space."""

    @abstractmethod
    def embeddings(self, batch: Batch) -> Tensor:
        """Return `(B, d)`, float32."""


class FieldwiseModel(ABC):
    """Capability: the likelihood of each field of a row given the others, which finds wrong cells."""

    @abstractmethod
    def field_nll(self, x: Tensor) -> Tensor:
        """Return −ln p of each field given all others, in nats, `(B, F)`, for rows x `(B, F)`."""


class LikelihoodModel(ABC):
    """Capability: the log-likelihood of items, exact or a lower bound (every report says which)."""

    exact: ClassVar[bool]

    @abstractmethod
    def log_likelihood(self, batch: Batch, noise: Noise) -> Tensor:
        """Return the log-likelihood of each item, `(B,)`, in nats.

        It is the probability of the raw values where the space has a `step`, else a density.
        """
