"""What an evaluation found, as it is written to `metrics.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat

from ..core.config import Frozen

FORMAT = 1  # of an evaluation

Group = Literal["likeness", "variety", "copying", "privacy", "likelihood", "usefulness", "properties"]


class Figure(Frozen):
    """One figure with all that is needed to read it."""

    name: str = Field(description="As the field calls it, with the extractor in brackets where one was read: FD[…].")
    key: str = Field(description="The same for programs, without brackets.")
    group: Group
    value: FiniteFloat
    low: FiniteFloat | None = Field(None, description="The 95 % interval, from here")
    high: FiniteFloat | None = Field(None, description="to here; None: it has none, and `meaning` says why.")
    ceiling: FiniteFloat | None = Field(None, description="What real items get, compared with real held-out ones.")
    floor: FiniteFloat | None = Field(
        None, description="What items get that are right part by part and in nothing else."
    )
    better: Literal["lower", "higher", "near"] = Field(description="`near`: as near to the ceiling as may be.")
    extractor: str | None = None
    real: int = Field(description="Held-out items it was measured on.")
    generated: int = Field(description="Generated items it was measured on; of a likelihood none.")
    seed: int
    meaning: str = Field(description="In a sentence.")


class NotMeasured(Frozen):
    """A figure that users would look for, and why it is not there."""

    name: str
    why: str


class Check(Frozen):
    """Something that was looked for: a fault, or a difference, which is a matter of degree."""

    name: str
    found: bool
    fault: bool = Field(True, description="False: a difference from real items, such as nearly every model shows.")
    says: str = Field(description="What was seen, in a sentence, whether it is a fault or not.")


class ClassResult(Frozen):
    """One class: what share of the items it has, and how its items fare."""

    name: str
    real_share: float
    generated_share: float | None = None
    accuracy: float | None = Field(None, description="Of items asked to be of it, those that a classifier says are.")
    coverage: float | None = None


class ColumnResult(Frozen):
    """One column of rows: how alike its values are, and its pairs with other columns; 1 is alike."""

    name: str
    shape: float
    trend: float | None = None
    shape_ceiling: float
    trend_ceiling: float | None = None


class Evaluation(Frozen):
    """All that was found of one model; the newest is kept in the model folder's `metrics.json`."""

    format: int = FORMAT
    morphogen: str
    model: str = Field(description="The model's hash.")
    family: str
    modality: str
    data: str = Field(description="What it was evaluated on, in words.")
    extractor: str
    seed: int
    real: int
    generated: int
    train: int = Field(description="Training items that were looked at; 0: they could not be read.")
    controls: dict[str, object] = {}
    command: str = Field("", description="What does it again.")
    seconds: float
    verdict: str
    checks: list[Check]
    figures: list[Figure]
    not_measured: list[NotMeasured]
    classes: list[ClassResult] = []
    columns: list[ColumnResult] = []

    def figure(self, key: str) -> Figure | None:
        """The figure of that key, where it was measured."""
        return next((one for one in self.figures if one.key == key), None)
