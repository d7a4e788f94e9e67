"""What commands on a model folder share: its family's Controls as flags, its conditions, a folder for the result."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..core import plugins
from ..core.config import Frozen, read_json
from ..core.errors import UserError
from ..sampling.solvers.base import Solver
from ._flags import parse, positional, with_solvers

if TYPE_CHECKING:
    from ..pipeline import Pipeline


_BOUND = re.compile(r"^([^=<>]+)([<>]=.*)$")  # age>=30 is age=>=30


def flag(kind: Any, purpose: str, **more: Any) -> Any:
    """The type of a field that is a flag."""
    return Annotated[kind, tyro.conf.arg(help=purpose, **more)]


def parse_on_model(
    arguments: list[str],
    verb: str,
    usage: str,
    purpose: str,
    fields: Sequence[tuple[str, Any, Any]],
    writes: bool = True,
) -> Any:
    """The flags of a command on a model folder: its own `fields`, those all share, and the family's Controls.

    Where it `writes`, --out has to be given. Raises UserError where there is no folder, or --out has something in it.
    """
    folder = positional(arguments)
    if folder is None and not {"-h", "--help"} & set(arguments):
        raise UserError(f"no model folder was given; expected: morphogen {verb} {usage}")
    controls, rest = None, list(arguments)
    if folder is not None:
        controls, rest = with_solvers(controls_of(Path(folder)), arguments)
    parsed = parse(_command(controls, purpose, fields, writes), rest, verb)
    if parsed.out and parsed.out.exists() and (not parsed.out.is_dir() or any(parsed.out.iterdir())):
        raise UserError(f"--out {parsed.out} already exists and is not empty; delete it or choose another folder")
    return parsed


def controls_of(folder: Path) -> type[Frozen]:
    """The Controls of the family in a model folder. Raises UserError where it is none."""
    config = read_json(folder / "config.json") if (folder / "config.json").exists() else None
    family = str(config.get("family")) if isinstance(config, dict) else ""
    if family not in plugins.known("families"):
        from ..pipeline import load

        load(folder)  # says what is wrong with the folder
    return plugins.load("families", family, "options").Controls


def chosen(parsed: Any) -> dict[str, Any]:
    """The controls by name; not dumped, for a solver would lose its name."""
    return {name: getattr(parsed.controls, name) for name in type(parsed.controls).model_fields}


def _command(
    controls: type[Any] | None, purpose: str, fields: Sequence[tuple[str, Any, Any]], writes: bool
) -> type[Any]:
    own = [(name, kind, dataclasses.field(default=default)) for name, kind, default in fields]
    out: Any = dataclasses.field() if writes else dataclasses.field(default=None)
    shared: list[Any] = [
        ("folder", flag(tyro.conf.Positional[Path], "Model folder."), dataclasses.field()),
        *own,
        ("out", flag(Path if writes else Path | None, "Folder to write to."), out),
        ("seed", flag(int, "Seed of the first; each next one has the next seed."), dataclasses.field(default=0)),
        (
            "condition",
            flag(
                tyro.conf.UseAppendAction[tuple[str, ...]],
                "NAME=VALUE; several values, separated by commas, take turns; NAME=all is all; again: more. Of a "
                "table's columns VALUE is a value, 30..40, >=30, <=40, a|b or missing, for all rows; NAME=all makes as "
                "many rows of each value.",
            ),
            dataclasses.field(default=()),
        ),
        ("batch", flag(int | None, "Items made at once; None: 64, of rows 8192."), dataclasses.field(default=None)),
    ]
    if controls is not None:
        bare: Any = Annotated[controls, tyro.conf.arg(name="")]
        shared.append(("controls", bare, dataclasses.field(default_factory=controls)))
    command = dataclasses.make_dataclass("Command", shared, kw_only=True)
    command.__doc__ = purpose
    for name, field in controls.model_fields.items() if controls else ():
        if isinstance(default := field.get_default(call_default_factory=True), Solver):
            # Its settings are flags of their own, so that the name itself is none of those listed.
            known = ", ".join(plugins.known("solvers"))
            command.__doc__ += f"\n\n--{name} NAME chooses among {known}; now {default.name}, its settings are below."
    return command


def conditions(pairs: tuple[str, ...], count: int, pipeline: Pipeline) -> dict[str, Any]:
    """`("label=3,5",)` as `{"label": ["3", "5", "3", …]}`, and a folder as the files in it; of columns as it is.

    Raises UserError on anything else.
    """
    from ..core.codec import RowCodec
    from ..core.condition import LabelCodec

    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = _BOUND.sub(r"\1=\2", pair, count=1).partition("=")
        if not sign or not value:
            raise UserError(f"--condition {pair} is not understood; expected NAME=VALUE such as label=3")
        if isinstance(pipeline.codec, RowCodec):
            if name in found:
                raise UserError(f"--condition {pair}: '{name}' is asked for twice; give a range, such as {name}=30..40")
            found[name] = value
            continue
        codec = pipeline.conditions.get(name)
        if isinstance(codec, LabelCodec):
            values = codec.names if value == "all" else value.split(",")
        elif codec is not None and Path(value).is_dir():
            suffixes = plugins.load("modalities", pipeline.modality, "files").SUFFIXES
            values = sorted(str(file.resolve()) for file in Path(value).iterdir() if file.suffix.lower() in suffixes)
            if not values:
                raise UserError(f"--condition {pair}: the folder holds no files of modality '{pipeline.modality}'")
        else:
            values = [str(Path(one).resolve()) if codec else one for one in value.split(",")]
        found[name] = [values[index % len(values)] for index in range(count)]
    return found
