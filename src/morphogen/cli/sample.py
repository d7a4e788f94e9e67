"""Draw new items from a model folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from ..core.config import build
from ..core.errors import UserError
from ..sampling.form import Form
from ._model import chosen, conditions, flag, parse_on_model

if TYPE_CHECKING:
    from ..pipeline import Pipeline


_Several: Any = tyro.conf.UseAppendAction[tuple[str, ...]]


def run(arguments: list[str]) -> int:
    fields = [
        ("n", flag(int, "How many.", aliases=["-n"]), 16),
        ("prompt", flag(str | None, "What texts begin with."), None),
        ("stop", flag(_Several, "A text at which texts stop; again: more."), ()),
        ("regex", flag(str | None, "A regular expression that what is drawn of a text matches."), None),
        ("choice", flag(_Several, "A text that may be drawn, and none but these; again: more."), ()),
        ("json_schema", flag(Path | None, "File of a JSON schema that what is drawn of a text obeys."), None),
        ("stream", flag(bool, "Print one text while it is drawn, instead of writing files."), False),
    ]
    streams = "--stream" in arguments
    parsed = parse_on_model(arguments, "sample", "DIR --out PATH", __doc__, fields, writes=not streams)

    from ..core.codec import RowCodec
    from ..pipeline import load, refuse_text
    from ..samples import save_samples

    pipeline, controls, form = load(parsed.folder), chosen(parsed), _form(parsed)
    if streams:
        _stream(pipeline, parsed, form, controls)
        return 0
    condition = conditions(parsed.condition, parsed.n, pipeline)
    progress = _progress(parsed.n) if sys.stderr.isatty() else None
    asked = {"seed": parsed.seed, "condition": condition, "batch": parsed.batch, "progress": progress}
    if isinstance(pipeline.codec, RowCodec):
        refuse_text(parsed.prompt, form)
        items: Any = pipeline.rows(parsed.n, **asked, **controls)
    else:
        items = pipeline.sample(parsed.n, prompt=parsed.prompt, form=form, **asked, **controls)
    save_samples(
        parsed.out,
        pipeline,
        items,
        count=parsed.n,
        seed=parsed.seed,
        condition=condition,
        prompt=parsed.prompt,
        form=form,
        batch=parsed.batch,
        controls=controls,
    )
    print(f"wrote {parsed.n} samples, a sheet and samples.json to {parsed.out}", file=sys.stderr)
    return 0


def _form(parsed: Any) -> Form:
    """What texts are asked to be. Raises UserError where the file of a schema cannot be read."""
    try:
        schema = parsed.json_schema.read_text(encoding="utf-8") if parsed.json_schema else None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--json-schema {parsed.json_schema} cannot be read: {error}") from None
    asked = {"stop": parsed.stop, "regex": parsed.regex, "choice": parsed.choice, "json_schema": schema}
    return build(Form, asked, "form")


def _stream(pipeline: Pipeline, parsed: Any, form: Form, controls: dict[str, Any]) -> None:
    """Print what each draft adds to the one before."""
    condition = conditions(parsed.condition, 1, pipeline)
    shown, held = "", max((len(stop) for stop in form.stop), default=1) - 1  # what a stop string may have begun in
    for text in pipeline.drafts(seed=parsed.seed, condition=condition, prompt=parsed.prompt, form=form, **controls):
        if not isinstance(text, str):
            raise UserError(f"--stream prints texts, and this model makes items of modality '{pipeline.modality}'")
        settled = text.rstrip("\ufffd")  # the bytes of one character may come in several symbols
        settled = settled[: max(len(shown), len(settled) - held)]
        print(settled[len(shown) :], end="", flush=True)
        shown = settled
    print(text[len(shown) :])


def _progress(count: int) -> Any:
    def show(done: int) -> None:
        print(f"\r{done}/{count}", end="\n" if done == count else "", file=sys.stderr, flush=True)

    return show
