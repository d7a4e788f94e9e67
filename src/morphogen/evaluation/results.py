"""The record of an evaluation, as it is written to `metrics.json`."""

from __future__ import annotations

from pydantic import Field

from ..core.config import Frozen
from ..core.results import Check, ClassResult, ColumnResult, Dependence, Figure, Grade, NotMeasured, Sharing

FORMAT = 3


class Evaluation(Frozen):
    """Everything measured of one model; the newest evaluation is in the model folder's `metrics.json`."""

    format: int = FORMAT
    morphogen: str
    model: str = Field(description="The model's hash.")
    family: str
    modality: str
    data: str = Field(description="What it was evaluated on, in words.")
    extractor: str
    seed: int
    real: int = Field(description="Number of held-out items.")
    generated: int
    train: int = Field(description="Number of training items that were read; 0: they could not be read.")
    controls: dict[str, object] = {}
    command: str = Field("", description="The command that repeats the evaluation.")
    seconds: float
    grade: Grade = Field(description="How far generated items are from real ones, and whether there are faults.")
    summary: str = Field(description="The grade, the faults, the differences, and what may be shared, a line each.")
    sharing: list[Sharing] = []
    checks: list[Check]
    figures: list[Figure]
    not_measured: list[NotMeasured]
    classes: list[ClassResult] = []
    columns: list[ColumnResult] = []
    dependences: list[Dependence] = []

    def figure(self, key: str) -> Figure | None:
        """Return the figure of that key, or None where it was not measured."""
        return next((figure for figure in self.figures if figure.key == key), None)
