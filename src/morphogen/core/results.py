"""The results of an evaluation: figures, checks, and what a report shows beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from .config import Frozen

Group = Literal["fidelity", "variety", "copying", "privacy", "likelihood", "utility", "properties"]
Better = Literal["lower", "higher", "near"]
Level = Literal["good", "fair", "poor", "unclear"]
Answer = Literal["no", "unclear", "nothing found"]


class Figure(Frozen):
    """One measured value, with all that is needed to read it."""

    name: str = Field(description="Its name in the literature, with the extractor in brackets, if any: FD[…].")
    key: str = Field(description="The name for programs, without brackets.")
    group: Group
    value: FiniteFloat
    low: FiniteFloat | None = Field(None, description="Lower end of the 95 % interval.")
    high: FiniteFloat | None = Field(
        None, description="Upper end of the 95 % interval; None: there is none, and `meaning` says why."
    )
    real_data: FiniteFloat | None = Field(
        None, description="The same for training items in the place of generated ones, compared with held-out items."
    )
    baseline: FiniteFloat | None = Field(
        None, description="The same for the independent baseline: correct marginals, no dependence between parts."
    )
    better: Better = Field(description="`near`: best where it equals the value of real data.")
    extractor: str | None = None
    real: int = Field(description="Number of held-out items.")
    generated: int = Field(description="Number of generated items; 0 for a likelihood.")
    seed: int
    meaning: str = Field(description="What the figure says, in a sentence.")


class NotMeasured(Frozen):
    """A figure or check that users would look for, and why it is absent."""

    name: str
    reason: str


class Check(Frozen):
    """The result of looking for one fault, or for a difference from real items."""

    name: str
    detected: bool
    fault: bool = Field(True, description="False: a difference from real items, which nearly every model shows.")
    privacy: bool = Field(False, description="Whether it is an attack that looks for training items.")
    unclear: bool = Field(False, description="Not detected, but the items are too few to exclude it.")
    message: str = Field(description="What was measured, in a sentence, whether it was detected or not.")


class Grade(Frozen):
    """How far generated items are from real ones, and whether there are faults: what to read first."""

    level: Level
    title: str = Field(description="The grade in a few words.")
    message: str = Field(description="What it rests on, in a sentence or two.")


class Sharing(Frozen):
    """Whether generated items, or the model itself, may be given away, as far as attacks show."""

    what: Literal["items", "model"]
    answer: Answer
    message: str = Field(description="The answer in a sentence, with its reason.")
    attacked: list[str] = Field(description="The attacks that were tried, and their results.")
    not_attacked: list[str] = Field(description="What was not tried, and why.")
    advice: str = Field(description="What to do.")


class ClassResult(Frozen):
    """How often one class occurs, and how its items fare."""

    name: str
    real_share: float
    generated_share: float | None = None
    accuracy: float | None = Field(None, description="Share of items of this class that a classifier confirms.")
    coverage: float | None = None


class ColumnResult(Frozen):
    """How similar one column is to the real one, alone and in pairs with other columns; 1 is best."""

    name: str
    shape: float
    trend: float | None = None
    shape_real_data: float | None = Field(None, description="The same for training rows; None: not measured.")
    trend_real_data: float | None = None


class Dependence(Frozen):
    """How strongly two columns depend on each other in real and in generated rows: 0 is not at all, 1 completely."""

    first: str
    second: str
    real: float
    generated: float
    difference: float = Field(description="Effect size (Cohen's w) of the difference of both dependences; .1 is small.")
    detected: bool = Field(description="Whether the difference is significant and no small effect.")


@dataclass(frozen=True)
class Pair:
    """A generated item and the training item nearest to it.

    `ratio` is their distance over the mean distance to the other near training items: 0 is a copy.
    """

    generated: Any
    nearest: Any
    ratio: float


@dataclass(frozen=True)
class Distribution:
    """The distribution of one property or column: the share of real and of generated items in each bin."""

    name: str
    bins: list[str]
    real: NDArray[np.float64]
    generated: NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """The mean of one column in each group of another, such as the hours of the day; NaN where a group is empty."""

    name: str
    groups: list[str]
    real: NDArray[np.float64]
    generated: NDArray[np.float64]


@dataclass(frozen=True)
class CopiedSpan:
    """A span of a generated item that also stands in a training item, and what stands before and after it."""

    before: str
    span: str
    after: str


@dataclass
class Results:
    """Everything measured so far."""

    figures: list[Figure] = field(default_factory=list)
    not_measured: list[NotMeasured] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    classes: list[ClassResult] = field(default_factory=list)
    columns: list[ColumnResult] = field(default_factory=list)
    dependences: list[Dependence] = field(default_factory=list)
    typical: list[int] = field(default_factory=list)  # generated items, the most like real ones first
    pairs: list[Pair] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    copied_spans: list[CopiedSpan] = field(default_factory=list)

    def skip(self, reason: str, *names: str) -> None:
        """Record that these figures or checks are not measured, and why."""
        self.not_measured += [NotMeasured(name=name, reason=reason) for name in names]
