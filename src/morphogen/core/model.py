"""The contract of a family: phases of training whose loss is `forward`, and generation that yields drafts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .config import Frozen
from .noise import Noise
from .space import Space


class Partial(NamedTuple):
    """`x` of which only `known` is settled: what is observed goes in as one, every draft comes out as one."""

    x: Tensor  # (B, *shape)
    known: Tensor  # bool, broadcastable to x


class Batch(NamedTuple):
    """What a loss sees. An absent condition, or a negative symbol in one, is the null condition."""

    x: Tensor  # (B, *shape)
    condition: dict[str, Tensor] = {}  # (B, *shape of that condition's space)


class Loss(NamedTuple):
    """`total` is what is minimised (a mean over items); `parts` are detached figures worth a curve."""

    total: Tensor
    parts: dict[str, Tensor] = {}


class Prediction(NamedTuple):
    """What a denoiser says of a noisy x: the clean data in it, and the noise."""

    data: Tensor
    noise: Tensor


Predict = Callable[[Tensor, Tensor], Prediction]  # (x, t) with t broadcastable against x


class Rule(Protocol):
    """What one sample's symbols must obey: a grammar, a stop string. It keeps what was drawn so far."""

    def allowed(self) -> Tensor | None:
        """Bool `(vocab,)`: the symbols that may come next, at least one of them; None: all."""

    def advance(self, symbol: int) -> None:
        """That symbol was drawn, or was given."""

    def fork(self) -> Rule:
        """A copy that goes its own way from here on."""


class Limit(Protocol):
    """What symbols at some positions have to be, given those at others."""

    positions: frozenset[int]  # that it is about

    def allowed(self, position: int, x: Tensor, known: Tensor) -> Tensor | None:
        """Bool `(B, K)`: which symbols there go with those of `x` `(B, n)` that are `known` `(B, n)`; None: all."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What items are asked to be: of some positions, P(an item is so | its symbol there), as far as that one tells.

    `chances` are `(K,)`, or `(K before, K)` where the symbol before it in the same part counts, too. `limits` are what
    holds in all items anyway, and is not left to chance.
    """

    chances: Mapping[int, Tensor] = field(default_factory=dict)
    limits: Sequence[Limit] = ()


@dataclass(frozen=True)
class Request:
    """What a batch of samples is asked to be, one per seed in `noise`.

    What a caller may save and publish is in Controls; what it may not (masks, keys, callables) is here.
    """

    noise: Noise
    condition: Mapping[str, Tensor] = field(default_factory=dict)
    given: Partial | None = None
    rules: Sequence[Sequence[Rule]] = ()  # of each sample, where there are any
    evidence: Evidence | None = None  # alike for all samples
    drafts: bool = False  # whether drafts before the last are wanted, where making them costs something

    def __len__(self) -> int:
        return len(self.noise)


@dataclass(frozen=True)
class Phase:
    """One loss and the part of the model it trains.

    `trains` names a submodule ("" is the whole model); each part has one optimiser. `every` is lazy regularisation:
    the phase runs on each such step. `during` is the share of the budget in which it runs: when it ends, the part
    takes its averaged weights and is frozen. `optimizer`, `betas` (AdamW's), the peak rate `lr`, the largest norm of
    the gradient `clip`, the decoupled `weight_decay`, and as shares of the phase `hold`, after which the rate falls,
    and `average`, the half-life of the averaged weights, are what serves this loss; what a user gives in TrainOptions
    goes before. Phases of one part share its optimiser, its betas, its decay and its average.
    """

    name: str = "model"
    trains: str = ""
    every: int = 1
    during: tuple[float, float] = (0.0, 1.0)
    optimizer: Literal["adamw", "muon"] = "muon"
    betas: tuple[float, float] = (0.9, 0.99)
    lr: float = 2e-3
    clip: float = 1.0
    weight_decay: float = 0.0
    hold: float = 0.3
    average: float = 0.05


class GenerativeModel(nn.Module, ABC):
    """A distribution over a space, given conditions. Subclasses are final: to change one, wrap it."""

    Options: ClassVar[type[Frozen]]
    Controls: ClassVar[type[Frozen]]
    accepts: ClassVar[tuple[type, ...]]  # kinds of space; a codec is fitted to the first of them it offers
    fills: bool = False  # honours `request.given`
    weighs: bool = False  # honours `request.evidence`
    validates: ClassVar[bool] = False  # its loss on items kept from training tells which weights are the best
    one_item_a_row: ClassVar[bool] = False  # a row that it is trained on holds no second item
    begin_items: int = 10_000  # that `begin` is given at most, spread over all
    least_steps: int = 1500  # that training should have: what the size of a batch is chosen by
    one_size: bool = False  # the probe does not size it for a budget
    most_passes: float = 0.0  # over the data, after which training ends before its budget; 0: never
    many_steps: int = 0  # up to which more steps are worth more than a larger batch
    symbols_a_parameter: float = 0.0  # in rows of sequences; where there are fewer, it learns them by heart

    def __init__(self, space: Space, conditions: Mapping[str, Space], options: Any) -> None:
        super().__init__()
        self.space, self.conditions, self.options = space, dict(conditions), options

    @classmethod
    def settled(cls, options: Any, items: int) -> Any:
        """The options, what was left open being settled for so many items to train on."""
        return options

    def phases(self) -> Sequence[Phase]:
        """The phases of training, in the order in which they run within a step."""
        return (Phase(),)

    @torch.no_grad()
    def begin(self, phase: str, batches: Iterable[Batch]) -> None:
        """Once, before a phase's first step: sets what is computed from data. What it keeps is a buffer."""

    def adapt(self, progress: float, passes: float, seen: Mapping[str, float]) -> None:
        """Between steps, alike on all ranks. What it keeps is a buffer.

        `progress` is the share of the budget spent, `passes` how often each training item has been read so far, and
        `seen` holds the parts of the step's losses.
        """

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """After training, alike on all ranks, where it `validates`: settles what items kept from training tell."""

    @abstractmethod
    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """The training loss of a phase; it is `forward` so that DDP, FSDP and compile wrap it."""

    @abstractmethod
    def generate(self, request: Request, controls: Any) -> Iterator[Partial]:
        """Full-shaped drafts; the last one is all known and is the sample. A draft is valid until the next."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


class Denoiser(ABC):
    """Capability: tells data from noise at any noise level; guidance, inversion and distillation ask for it."""

    @abstractmethod
    def predict(self, x: Tensor, t: Tensor, condition: Mapping[str, Tensor]) -> Prediction:
        """x `(B, *shape)`; t broadcastable against x, in the path's own time."""


class LatentModel(ABC):
    """Capability: a latent space with an encoder (deterministic) and a differentiable decoder."""

    latent: Space

    @abstractmethod
    def encode(self, batch: Batch) -> Tensor:
        """The latent of each item, `(B, *latent.shape)`."""

    @abstractmethod
    def decode(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """The item of each latent, `(B, *space.shape)`."""


class EmbeddingModel(ABC):
    """Capability: a vector for each item, of what the model has made of it, where it has no latent space."""

    @abstractmethod
    def embeddings(self, batch: Batch) -> Tensor:
        """`(B, d)`, float32. Raises UserError on a space of which it makes none."""


class PartwiseModel(ABC):
    """Capability: how odd each part of an item is, given the others: which cell of a row is wrong."""

    @abstractmethod
    def surprise(self, x: Tensor) -> Tensor:
        """Nats of each part given all others, `(B, parts)`, of items `(B, *shape)` of a space that has parts."""


class LikelihoodModel(ABC):
    """Capability: the log-likelihood of items, exact or a lower bound (every report says which)."""

    exact: ClassVar[bool]

    @abstractmethod
    def log_likelihood(self, batch: Batch, noise: Noise) -> Tensor:
        """Nats per item, `(B,)`, as a probability of the raw values where the space has a `step`, else a density."""
