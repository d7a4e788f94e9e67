"""Sample new items from a model folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError
from ..core.log import say
from ._flags import flag
from ._model import conditions, control_values, folder_settings, from_flags, parse_on_model

if TYPE_CHECKING:
    from ..core.query import Query
    from ..pipeline import Pipeline


def run(arguments: list[str]) -> int:
    fields = [("n", flag(int, "Number of samples.", aliases=["-n"]), 16)]
    model = folder_settings(arguments)
    if model is not None and model.modality.streams:
        fields.append(("stream", flag(bool, "Print one sample while it is made, instead of writing files."), False))
    streams = "--stream" in arguments
    usage = "DIR --out PATH"
    parsed = parse_on_model(arguments, "sample", usage, __doc__ or "", fields, settings="Query", writes=not streams)

    from ..core.modality import modality
    from ..pipeline import load
    from ..samples import is_single_file, record_beside, save_samples

    pipeline, controls = load(parsed.folder), control_values(parsed)
    if streams and (parsed.out or {"-n", "--n"} & {argument.partition("=")[0] for argument in arguments}):
        raise UserError("--stream prints one sample and writes no files; drop -n and --out")
    count = 1 if streams else parsed.n
    own = modality(pipeline.modality)
    record = record_beside(parsed.out) if parsed.out and is_single_file(parsed.out, own) else None
    if record is not None and record.exists():
        raise UserError(f"{record} already exists; delete it or choose another --out")
    condition = conditions(parsed.condition, count, pipeline)
    query = from_flags(own.Query, parsed, condition=condition)
    if streams:
        _stream(pipeline, query, parsed.seed, controls)
        return 0
    save_samples(
        parsed.out,
        pipeline,
        query,
        count=count,
        seed=parsed.seed,
        batch=parsed.batch,
        controls=controls,
        progress=_progress(count) if sys.stderr.isatty() else None,
    )
    if record is not None:
        say(f"wrote {count} samples to {parsed.out}, and {record.name}, by which `morphogen replay` makes them again")
    else:
        say(f"wrote {count} samples, a preview and samples.json to {parsed.out}")
    return 0


def _stream(pipeline: Pipeline, query: Query, seed: int, controls: Mapping[str, Any]) -> None:
    """Print what each draft adds to the one before."""
    fields = {name: getattr(query, name) for name in type(query).model_fields}
    shown = ""
    for draft in pipeline.drafts(seed=seed, **fields, **controls):
        if draft.startswith(shown):
            print(draft[len(shown) :], end="", flush=True)
            shown = draft
    print(flush=True)


def _progress(count: int) -> Any:
    def show(done: int) -> None:
        print(f"\r{done}/{count}", end="\n" if done == count else "", file=sys.stderr, flush=True)

    return show
