"""Draw new items from a model folder."""

from __future__ import annotations

import sys
from typing import Any

from ._model import chosen, conditions, flag, parse_on_model


def run(arguments: list[str]) -> int:
    fields = [("n", flag(int, "How many.", aliases=["-n"]), 16)]
    parsed = parse_on_model(arguments, "sample", "DIR --out PATH", __doc__, fields)

    from ..pipeline import load
    from ..samples import save_samples

    pipeline, controls = load(parsed.folder), chosen(parsed)
    condition = conditions(parsed.condition, parsed.n, pipeline)
    progress = _progress(parsed.n) if sys.stderr.isatty() else None
    items = pipeline.sample(
        parsed.n, seed=parsed.seed, condition=condition, batch=parsed.batch, progress=progress, **controls
    )
    save_samples(
        parsed.out, pipeline, items, seed=parsed.seed, condition=condition, batch=parsed.batch, controls=controls
    )
    print(f"wrote {parsed.n} samples, a sheet and samples.json to {parsed.out}", file=sys.stderr)
    return 0


def _progress(count: int) -> Any:
    def show(done: int) -> None:
        print(f"\r{done}/{count}", end="\n" if done == count else "", file=sys.stderr, flush=True)

    return show
