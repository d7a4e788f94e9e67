"""Draw new items from a model folder."""

from __future__ import annotations

import dataclasses
import sys
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


def run(arguments: list[str]) -> int:
    folder = positional(arguments)
    if folder is None and not {"-h", "--help"} & set(arguments):
        raise UserError("no model folder was given; expected: morphogen sample DIR --out PATH")
    controls, rest = None, list(arguments)
    if folder is not None:
        controls, rest = with_solvers(controls_of(Path(folder)), arguments)
    parsed = parse(_command(controls), rest, "sample")
    if parsed.out.exists() and (not parsed.out.is_dir() or any(parsed.out.iterdir())):
        raise UserError(f"--out {parsed.out} already exists and is not empty; delete it or choose another folder")

    from ..pipeline import load
    from ..samples import save_samples

    pipeline = load(parsed.folder)
    condition = conditions(parsed.condition, parsed.n, pipeline)
    # Not dumped: a solver would lose its name.
    chosen = {name: getattr(parsed.controls, name) for name in type(parsed.controls).model_fields}
    progress = _progress(parsed.n) if sys.stderr.isatty() else None
    items = pipeline.sample(
        parsed.n, seed=parsed.seed, condition=condition, batch=parsed.batch, progress=progress, **chosen
    )
    save_samples(
        parsed.out, pipeline, items, seed=parsed.seed, condition=condition, batch=parsed.batch, controls=chosen
    )
    print(f"wrote {parsed.n} samples, a sheet and samples.json to {parsed.out}", file=sys.stderr)
    return 0


def controls_of(folder: Path) -> type[Frozen]:
    """The Controls of the family in a model folder. Raises UserError where it is none."""
    config = read_json(folder / "config.json") if (folder / "config.json").exists() else None
    family = str(config.get("family")) if isinstance(config, dict) else ""
    if family not in plugins.known("families"):
        from ..pipeline import load

        load(folder)  # says what is wrong with the folder
    return plugins.load("families", family, "options").Controls


def _command(controls: type[Any] | None) -> type[Any]:
    def flag(kind: Any, purpose: str, **more: Any) -> Any:
        return Annotated[kind, tyro.conf.arg(help=purpose, **more)]

    fields: list[Any] = [
        ("folder", flag(tyro.conf.Positional[Path], "Model folder."), dataclasses.field()),
        ("out", flag(Path, "Folder to write the samples to."), dataclasses.field()),
        ("n", flag(int, "How many.", aliases=["-n"]), dataclasses.field(default=16)),
        ("seed", flag(int, "Seed of the first; each next one has the next seed."), dataclasses.field(default=0)),
        (
            "condition",
            flag(
                tyro.conf.UseAppendAction[tuple[str, ...]],
                "NAME=VALUE; several values, separated by commas, take turns; NAME=all is all; again: more.",
            ),
            dataclasses.field(default=()),
        ),
        ("batch", flag(int, "Samples drawn at once."), dataclasses.field(default=64)),
    ]
    if controls is not None:
        bare: Any = Annotated[controls, tyro.conf.arg(name="")]
        fields.append(("controls", bare, dataclasses.field(default_factory=controls)))
    command = dataclasses.make_dataclass("Sample", fields, kw_only=True)
    command.__doc__ = __doc__
    for name, field in controls.model_fields.items() if controls else ():
        if isinstance(default := field.get_default(call_default_factory=True), Solver):
            # Its settings are flags of their own, so that the name itself is none of those listed.
            known = ", ".join(plugins.known("solvers"))
            command.__doc__ += f"\n\n--{name} NAME chooses among {known}; now {default.name}, its settings are below."
    return command


def conditions(pairs: tuple[str, ...], count: int, pipeline: Pipeline) -> dict[str, list[str]]:
    """`("label=3,5",)` as `{"label": ["3", "5", "3", …]}`, and a folder as the files in it.

    Raises UserError on anything else.
    """
    from ..core.condition import LabelCodec

    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not value:
            raise UserError(f"--condition {pair} is not understood; expected NAME=VALUE such as label=3")
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


def _progress(count: int) -> Any:
    def show(done: int) -> None:
        print(f"\r{done}/{count}", end="\n" if done == count else "", file=sys.stderr, flush=True)

    return show
