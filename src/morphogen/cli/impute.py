"""Fill in what is missing of items: the holes of pictures."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..core import plugins
from ..core.errors import UserError
from ._flags import parse, positional, with_solvers
from .sample import conditions, controls_of


def run(arguments: list[str]) -> int:
    folder = positional(arguments)
    if folder is None and not {"-h", "--help"} & set(arguments):
        raise UserError("no model folder was given; expected: morphogen impute DIR SOURCE --out PATH")
    controls, rest = None, list(arguments)
    if folder is not None:
        controls, rest = with_solvers(controls_of(Path(folder)), arguments)
    parsed = parse(_command(controls), rest, "impute")
    if parsed.out.exists() and (not parsed.out.is_dir() or any(parsed.out.iterdir())):
        raise UserError(f"--out {parsed.out} already exists and is not empty; delete it or choose another folder")

    from ..data.sources import open_source
    from ..pipeline import load
    from ..samples import save_items

    pipeline = load(parsed.folder)
    source = open_source(str(parsed.source), pipeline.modality)
    items = [source.read(index) for index in range(len(source))]
    holes = plugins.load("modalities", pipeline.modality, "holes").find(items, parsed.mask)
    condition = conditions(parsed.condition, len(items), pipeline)
    chosen = {name: getattr(parsed.controls, name) for name in type(parsed.controls).model_fields}
    filled = pipeline.impute(items, holes, seed=parsed.seed, condition=condition, batch=parsed.batch, **chosen)
    save_items(parsed.out, pipeline, filled)
    print(f"wrote {len(filled)} items, filled in, and a sheet to {parsed.out}", file=sys.stderr)
    return 0


def _command(controls: type[Any] | None) -> type[Any]:
    def flag(kind: Any, purpose: str, **more: Any) -> Any:
        return Annotated[kind, tyro.conf.arg(help=purpose, **more)]

    fields: list[Any] = [
        ("folder", flag(tyro.conf.Positional[Path], "Model folder."), dataclasses.field()),
        ("source", flag(tyro.conf.Positional[Path], "A picture, or a folder or file of items."), dataclasses.field()),
        ("out", flag(Path, "Folder to write them to."), dataclasses.field()),
        (
            "mask",
            flag(
                str | None, "left, right, top, bottom, middle, or a picture, white where to fill; None: transparency."
            ),
            dataclasses.field(default=None),
        ),
        ("seed", flag(int, "Seed of the first; each next one has the next seed."), dataclasses.field(default=0)),
        (
            "condition",
            flag(tyro.conf.UseAppendAction[tuple[str, ...]], "NAME=VALUE; as of sample."),
            dataclasses.field(default=()),
        ),
        ("batch", flag(int, "Items filled in at once."), dataclasses.field(default=64)),
    ]
    if controls is not None:
        bare: Any = Annotated[controls, tyro.conf.arg(name="")]
        fields.append(("controls", bare, dataclasses.field(default_factory=controls)))
    command = dataclasses.make_dataclass("Impute", fields, kw_only=True)
    command.__doc__ = __doc__
    return command
