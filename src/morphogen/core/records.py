"""The schemas of the JSON in a model folder and in a folder of samples. Imports no torch.

Values have the types that were written: a number in quotes is refused, and so is a field that is unknown, NaN or
infinite. Where a field is added or changes its meaning, the format is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from .config import invalid, read_json
from .errors import UserError
from .files import as_path, is_plain_name

FORMAT = 3  # of the model folder
SAMPLES_FORMAT = 3
_MOST = 2**40  # what no count exceeds


def _plain_name(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError("it is no plain file name")
    return name


def _plain_path(path: str) -> str:
    for name in path.split("/"):
        _plain_name(name)
    return path


def _possible_path(text: str) -> str:
    try:
        as_path(text, "it")
    except UserError as error:
        raise ValueError(str(error)) from None
    return text


Count = Annotated[int, Field(ge=0, le=_MOST)]
Name = Annotated[str, Field(max_length=200)]
FileName = Annotated[str, AfterValidator(_plain_name)]  # directly in its folder
FilePath = Annotated[str, AfterValidator(_plain_path)]  # below its folder, with `/` between names
Place = Annotated[str, AfterValidator(_possible_path)]  # a path anywhere, or the name of a data set
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Point = Annotated[list[float], Field(min_length=2, max_length=2)]  # of a curve
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Record(BaseModel):
    """Base of every schema: immutable and strict."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ModelConfig(Record):
    """`config.json` of a model folder."""

    format: int
    morphogen: Name
    family: Name
    modality: Name
    space: dict[str, Any]
    latent: dict[str, Any] | None = None  # the space of an autoencoder's latents
    conditions: dict[FileName, dict[str, Any]]
    options: dict[str, Any]
    precision: Literal["fp32", "bf16", "fp16"]
    source: str
    files: dict[FilePath, Digest]  # SHA-256 of everything that a model is loaded from


class TrainingFigures(BaseModel):
    """What a fit measured of itself; figures beside those that are read again may be added."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    parameters: Count = 0
    steps: Count = 0
    batch: Count = 0
    seconds: float = 0.0
    curves: dict[Name, list[Point]] = {}


class Metrics(Record):
    """`metrics.json` of a model folder."""

    training: TrainingFigures = TrainingFigures()
    evaluation: dict[str, Any] | None = None


class Opening(Record):
    """How a source was opened."""

    column: str | None = None
    separator: str | None = None


class SplitRecord(Record):
    """`split.json`: which items of the source a fit trained on, validated with and held out."""

    source: str
    spec: Place | None = None  # what opens the source again, a path being relative to the model folder
    opening: Opening = Opening()
    digest: str | None = None
    modality: Name | None = None
    official: bool = False
    train: Count = 0
    validation: list[Count] = []
    held_out: list[Count]
    skipped: list[str] = []


class SeedRange(Record):
    """Consecutive seeds."""

    first: Seed
    count: Annotated[int, Field(ge=1, le=_MOST)]


class SamplesRecord(Record):
    """`samples.json` of a folder of samples: all that is needed to make them again."""

    format: int
    model: Digest
    family: Name
    modality: Name
    seeds: SeedRange
    query: dict[str, Any]
    condition_files: dict[str, Digest]
    controls: dict[str, Any]
    batch: Annotated[int, Field(ge=1, le=_MOST)] | None
    precision: Literal["fp32", "bf16", "fp16"]
    device: Name
    threads: Count
    versions: dict[Name, Name]
    files: list[FileName]


Kind = TypeVar("Kind", bound=Record)


def read_record(path: Path, kind: type[Kind], advice: str = "restore it or fit again") -> Kind:
    """Return what is in a JSON file by its schema.

    Raises UserError that names the file and the field where it is absent, broken or of another type.
    """
    return parse_record(read_json(path), kind, str(path), advice)


def parse_record(data: Any, kind: type[Kind], name: str, advice: str = "restore it or fit again") -> Kind:
    """Return JSON data by their schema; `name` stands in messages. Raises UserError as `read_record` does."""
    if not isinstance(data, Mapping):
        raise UserError(f"{name} holds {data!r:.40}; expected values by name; {advice}")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{invalid(error, f'{name}: ')}; {advice}") from None


def read_metrics(path: Path) -> dict[str, Any]:
    """Return what `metrics.json` holds. Raises UserError as `read_record` does."""
    data = read_json(path)
    parse_record(data, Metrics, str(path), "remove the file")
    return dict(data)
