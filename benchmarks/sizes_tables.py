"""Sizes for rows: models of several widths on few rows of six tables, and how far the default is from the best.

Only training rows are read: some are fitted to, others judge. Writes JSON lines, and reads finished ones.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import tables_data
from contest import DATA

WIDTHS = (32, 64, 128, 256)
TABLES = ("adult", "shoppers", "magic", "beijing", "california", "abalone")
_FILES = {"california": "california_housing.csv.gz", "abalone": "abalone.csv"}
_ROWS, _JUDGING, _STEPS, _BATCH = 1_000, 1_000, 200, 128


def split(name: str, data: Path, rows: int) -> tuple[Any, Any]:
    """Return rows to fit to, and others of the training part to judge with."""
    if name in tables_data.TARGETS:
        table = tables_data.read(name, data)[0]
    else:
        table = tables_data.read_csv(data / "tables" / _FILES[name])
        order = np.random.default_rng(5).permutation(len(table))
        table = table.take(order[: int(0.9 * len(table))])
    order = np.random.default_rng(1).permutation(len(table))
    judging = min(_JUDGING, len(table) // 3)
    return table.take(order[judging:][:rows]), table.take(order[:judging])


def figures(fit: Any, judge: Any, width: int, steps: int) -> dict[str, float]:
    """Return the figures of a model of one width, by rows that it was fitted to and others."""
    import morphogen
    from morphogen.likelihood import log_likelihood
    from morphogen.metrics.statistics.intervals import auc
    from morphogen.modalities.table.statistics.c2st import c2st_auc

    started = time.process_time()
    train = {"steps": steps, "batch": _BATCH, "threads": 1, "previews": 0}
    options = {"width": width, "embedding": width}
    pipe = morphogen.fit(fit, family="autoregressive", train=train, options=options, say=None)
    seconds = time.process_time() - started
    known, new = (log_likelihood(pipe, part) for part in (fit, judge))
    samples = pipe.sample(len(judge), seed=0).select(judge.column_names).cast(judge.schema, safe=False)
    count = min(len(known), len(new))
    return {
        "seconds": round(seconds, 1),
        "nats": round(-float(new.mean()), 3),
        "membership": round(auc(known[:count].double(), new[:count].double())[0], 3),
        "c2st": round(c2st_auc(judge, samples), 3),
    }


def ladder(data: Path, out: Path, rows: int = _ROWS, steps: int = _STEPS) -> list[dict[str, Any]]:
    """Return the figures of each table and width; a line each is added to `out`, those there are not repeated."""
    from morphogen.families.autoregressive.options import RowOptions

    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(line["table"], line["rows"], line["option"]) for line in lines}
    for name in TABLES:
        fit, judge = split(name, data, rows)
        default = RowOptions().resolve(len(fit)).width
        for width in WIDTHS:
            if (name, rows, width) in done:
                continue
            line = {"table": name, "rows": rows, "option": width, "chosen": width == default}
            lines.append(line | figures(fit, judge, width, steps))
            with out.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    return lines


def report(lines: list[dict[str, Any]]) -> str:
    """Return a Markdown table: nats of rows that were not fitted to at each width, and the regret of the default."""
    head = "| table | rows | " + " | ".join(f"nats, C2ST at {width}" for width in WIDTHS) + " | chosen | regret, nats |"
    table = [head, "|---" * (len(WIDTHS) + 4) + "|"]
    for name, rows in dict.fromkeys((line["table"], line["rows"]) for line in lines):
        own = {line["option"]: line for line in lines if (line["table"], line["rows"]) == (name, rows)}
        cells = [f"{own[width]['nats']:.2f}, {own[width]['c2st']:.2f}" if width in own else "–" for width in WIDTHS]
        chosen = next((line for line in own.values() if line["chosen"]), None)
        best = min(line["nats"] for line in own.values())
        regret = f"{chosen['option']} | {chosen['nats'] - best:.2f}" if chosen else "– | –"
        table.append(f"| {name} | {rows:,} | {' | '.join(cells)} | {regret} |")
    return "\n".join(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder above tables/")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sizes_tables.jsonl")
    parser.add_argument("--rows", type=int, default=_ROWS)
    parser.add_argument("--steps", type=int, default=_STEPS)
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    print(report(ladder(options.data, options.out, options.rows, options.steps)))


if __name__ == "__main__":
    main()
