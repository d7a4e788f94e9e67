"""What commands on a model folder share: flags of its modality and its model, conditions, a folder for the result."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import tyro
from pydantic import ValidationError

from ..core import plugins
from ..core.config import Frozen, read_json
from ..core.errors import UserError
from ..core.modality import Modality, Record, modality
from ..core.query import Query
from ..core.space import space_from_json
from ._flags import Repeatable, flag, group, invalid_flag, parse, plain_settings, positional, with_solvers

if TYPE_CHECKING:
    from ..pipeline import Pipeline

Settings = TypeVar("Settings", bound=Frozen)

_BOUND = re.compile(r"^([^=<>]+)([<>]=.*)$")  # age>=30 is age=>=30
_CONDITION = (
    "A class, several separated by commas that take turns, or all, for all in turn; or the file of an item, or a "
    "folder of them."
)
_OR_FILE = "; or, where one file can hold all items, the name of that file, such as rows.csv"


@dataclasses.dataclass(frozen=True)
class FolderSettings:
    """What a model folder says of its flags, read without torch."""

    family: str
    modality: Modality[Any]
    entry: plugins.ModelEntry


def folder_settings(arguments: Sequence[str]) -> FolderSettings | None:
    """Return what the model folder among the arguments says; None where there is none.

    Raises UserError where it is no model folder.
    """
    # Whatever its place: a flag may have several values, the last of which looks like a folder's name.
    folders = (one for one in arguments if not one.startswith("-") and Path(one, "config.json").is_file())
    folder = next(folders, None) or positional(arguments)
    if folder is None:
        return None
    file = Path(folder, "config.json")
    config: Any = read_json(file) if file.exists() else None
    try:
        family, kind = config["family"], type(space_from_json(config["space"]))
        return FolderSettings(family, modality(config["modality"]), plugins.entry_for(family, kind))
    except (UserError, KeyError, TypeError, AttributeError):
        from ..model_folder import load_artifact

        load_artifact(folder)  # says what is wrong with the folder
        raise


def parse_on_model(
    arguments: list[str],
    verb: str,
    usage: str,
    purpose: str,
    fields: Sequence[tuple[str, Any, Any]],
    *,
    settings: Literal["Query", "Mask"] | None = None,
    condition: bool = True,
    writes: bool = True,
) -> Any:
    """Return the flags of a command on a model folder.

    They are the command's own `fields` (name, type, default), those that all share, the modality's `settings` as
    `query` or `mask`, and the model's Controls as `controls`. Without `condition` there is no `--condition`. Where it
    `writes`, `--out` has to be given. Raises UserError where there is no folder, or --out has something in it.
    """
    model = folder_settings(arguments)
    if model is None and not {"-h", "--help"} & set(arguments):
        raise UserError(f"no model folder was given; expected: morphogen {verb} {usage}")
    groups, rest = [], list(arguments)
    if model is not None:
        if settings and (kind := getattr(model.modality, settings)):
            plain = plain_settings(kind, leave_out=("condition",))
            if type(plain).model_fields:
                groups.append((settings.lower(), *group(plain, model.modality.name)))
        controls, rest = with_solvers(model.entry.Controls, arguments)
        if controls.model_fields:
            groups.append(("controls", *group(controls(), model.family)))
    shared = [*fields, *_shared_fields(model, condition, writes)]
    parsed = parse(_command(purpose, [*shared, *groups]), rest, verb)
    if parsed.out and parsed.out.exists() and (not parsed.out.is_dir() or any(parsed.out.iterdir())):
        other = "folder" if parsed.out.is_dir() or not parsed.out.suffix else "name"
        raise UserError(f"--out {parsed.out} already exists and is not empty; delete it or choose another {other}")
    return parsed


def _shared_fields(model: FolderSettings | None, condition: bool, writes: bool) -> list[tuple[str, Any, Any]]:
    single = writes and (model is None or model.modality.single_files)
    out = f"Folder to write to{_OR_FILE if single else ''}."
    fields: list[tuple[str, Any, Any]] = [
        ("out", flag(Path if writes else Path | None, out), dataclasses.MISSING if writes else None),
        ("seed", flag(int, "Seed of the first sample; each next one has the next seed."), 0),
        ("batch", flag(int | None, "Samples to make at once; None: the modality's default."), None),
    ]
    if condition:
        description = model.modality.Query.model_fields["condition"].description if model else None
        own = description if description != Query.model_fields["condition"].description else None
        purpose = f"NAME=VALUE, repeatable. {own or _CONDITION}"
        fields.insert(2, ("condition", flag(Repeatable, purpose), ()))
    return fields


def _command(purpose: str, fields: Sequence[tuple[str, Any, Any]]) -> type[Any]:
    folder = ("folder", flag(tyro.conf.Positional[Path], "Model folder."), dataclasses.MISSING)
    command = dataclasses.make_dataclass(
        "Command",
        [(name, kind, dataclasses.field(default=default)) for name, kind, default in [folder, *fields]],
        kw_only=True,
    )
    command.__doc__ = purpose
    return command


def control_values(parsed: Any) -> dict[str, Any]:
    """Return the model's controls by name; not dumped, for a solver would lose its name."""
    return _values(parsed, "controls")


def from_flags(kind: type[Settings], parsed: Any, **more: Any) -> Settings:
    """Return the modality's Query or Mask that the flags spell. Raises UserError naming the flag that is wrong."""
    try:
        return kind(**_values(parsed, "query"), **_values(parsed, "mask"), **more)
    except ValidationError as error:
        raise invalid_flag(error) from None


def _values(parsed: Any, name: str) -> dict[str, Any]:
    settings = getattr(parsed, name, None)
    return {field: getattr(settings, field) for field in type(settings).model_fields} if settings is not None else {}


def conditions(pairs: Sequence[str], count: int, pipeline: Pipeline) -> dict[str, Any]:
    """Return `("label=3,5",)` as `{"label": ["3", "5", "3", …]}`, and a folder as the files in it.

    What is not one of the model's own conditions is left as it is, for the codec. Raises UserError on anything else.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = _BOUND.sub(r"\1=\2", pair, count=1).partition("=")
        if not sign or not value:
            raise UserError(f"--condition {pair} is not understood; expected NAME=VALUE such as label=3")
        if name in values:
            raise UserError(f"--condition {pair}: '{name}' is given twice; give one value, or several at once")
        values[name] = _take_turns(_condition_values(name, value, pipeline), count)
    return values


def _condition_values(name: str, value: str, pipeline: Pipeline) -> list[str]:
    if name not in pipeline.conditions:
        return [value]
    if name not in pipeline.artifact.required_conditions:  # classes
        return value.split(",")
    if not Path(value).is_dir():
        return [str(Path(file).resolve()) for file in value.split(",")]
    own = modality(pipeline.modality)
    files = sorted(path.resolve() for path in Path(value).iterdir() if path.is_file())
    files = [path for path in files if own.claims(Record("file", path, path.name)) > 0]
    if not files:
        raise UserError(f"--condition {name}={value}: the folder holds no {own.plural}")
    return list(map(str, files))


def _take_turns(values: Sequence[str], count: int) -> str | list[str]:
    return values[0] if len(values) == 1 else [values[index % len(values)] for index in range(count)]
