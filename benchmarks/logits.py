"""Controls of sampling against transformers' own logits processors, on random logits and on ties.

Run: python benchmarks/logits.py      a minute, and once some for the peer's environment; results/logits.json
     python benchmarks/logits.py --report      the table of the last results

For each control: of how many rows are the kept sets equal, and how far apart are the log-probabilities of what both
keep, at most, in those rows. A row that differs is told apart: "ties", where all that only one side keeps is exactly
as likely (typical: as typical) as something that both sides have to do with at the border; "rounding", where the sets
differ at a border that their sums or quotients reach to within 1e-5; "other" is a disagreement. Of several controls at
once, a row counts as "ties" where it has any.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contest import write_json
from torch import Tensor

from morphogen.sampling.logits import guided, probabilities
from morphogen.sampling.penalties import Seen, Steering, steered

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "logits.json"
sys.path.insert(0, str(HERE / "peers"))

END = 3
STEPS = ("temperature", "top_k", "top_p", "min_p", "typical_p")
ALL = {
    "guidance": 1.5,
    "repetition": 1.2,
    "bias": {"0": 1.5, "5": -1.5},
    "banned": [4, 9],
    "no_repeat": 3,
    "least": {"length": 41, "end": END},
    "temperature": 0.9,
    "top_k": 20,
    "top_p": 0.95,
    "min_p": 0.02,
    "typical_p": 0.95,
}
# Settings are applied in the order in which they stand.
CASES: dict[str, dict[str, Any]] = {
    "guidance 1.5": {"guidance": 1.5},
    "guidance 0.5": {"guidance": 0.5},
    "repetition 1.3": {"repetition": 1.3},
    "repetition 0.8": {"repetition": 0.8},
    "bias": {"bias": {"0": 2.5, "5": -1.5, "7": 10.0}},
    "allowed": {"allowed": list(range(0, 40, 3))},
    "banned": {"banned": [0, 4, 9, 11]},
    "no repeat of 1": {"no_repeat": 1},
    "no repeat of 2": {"no_repeat": 2},
    "no repeat of 3": {"no_repeat": 3},
    "least length, below": {"least": {"length": 41, "end": END}},
    "least length, reached": {"least": {"length": 40, "end": END}},
    "temperature 0.7": {"temperature": 0.7},
    "temperature 1.8": {"temperature": 1.8},
    "top-k 1": {"top_k": 1},
    "top-k 10": {"top_k": 10},
    "top-p 0.3": {"top_p": 0.3},
    "top-p 0.9": {"top_p": 0.9},
    "top-p 0.99": {"top_p": 0.99},
    "min-p 0.05": {"min_p": 0.05},
    "min-p 0.5": {"min_p": 0.5},
    "typical 0.2": {"typical_p": 0.2},
    "typical 0.9": {"typical_p": 0.9},
    # Together the two are not the same there: see the definitions.
    "all but guidance": {control: value for control, value in ALL.items() if control != "guidance"},
    "all but repetition": {control: value for control, value in ALL.items() if control != "repetition"},
}
DEFINITIONS = [
    "top-k: transformers keeps every symbol that is as likely as the k-th, so more than k where there are ties; "
    "here exactly k, of equals the lower ones.",
    "top-p: transformers sorts from below, and of equals at the border keeps those its unstable sort put last; here "
    "the lower ones. Both keep the fewest symbols that reach the mass, and at least one.",
    "typical: transformers keeps every symbol as typical as the last; here of equals the lower ones.",
    "min_tokens_to_keep is 1 there by default and always here.",
    "Rounding: transformers sums probabilities in the precision of the logits, here always in double.",
    "Order in transformers' generate: guidance, bias, repetition, no repeat, banned, least length, temperature, top-k, "
    "top-p, min-p, typical; here the penalties come before the bias, so a bias is added in full. Compared above in the "
    "order here.",
    "Guidance in transformers works on log-probabilities, here on logits: the same distribution. But a repetition "
    "penalty goes by the sign, so after guidance it multiplies everything there, and here as it does without guidance.",
    "transformers' history has no padding: padded symbols count there as seen. Here only what counts does.",
    "Presence and frequency penalties are not in transformers; tested here against OpenAI's definition.",
    "Temperature 0 is an error there and greedy here.",
]


def data() -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Logits and unconditional ones `(rows, vocab)`, and histories of 40 symbols."""
    generator = torch.Generator().manual_seed(0)

    def of(rows: int, vocab: int, seen: int) -> tuple[Tensor, Tensor, Tensor]:
        logits, unconditional = torch.randn(2, rows, vocab, generator=generator, dtype=torch.float64) * 3
        return logits, unconditional, torch.randint(0, seen, (rows, 40), generator=generator)

    tied = torch.randint(-2, 3, (2, 1000, 60), generator=generator).double()
    single = of(1000, 300, 12)
    return {
        "double": of(1000, 300, 12),
        "single": (single[0].float(), single[1].float(), single[2]),
        "large": of(16, 50_000, 30),
        "ties": (tied[0], tied[1], torch.randint(0, 8, (1000, 40), generator=generator)),
    }


def log_probabilities(settings: dict[str, Any], logits: Tensor, unconditional: Tensor, history: Tensor) -> Tensor:
    if "guidance" in settings:
        logits = guided(logits, unconditional, settings["guidance"])
    least = settings.get("least", {"length": 0, "end": None})
    steering = Steering(
        repetition=settings.get("repetition", 1.0),
        bias={int(symbol): add for symbol, add in settings.get("bias", {}).items()},
        allowed=settings.get("allowed"),
        banned=settings.get("banned", ()),
        no_repeat=settings.get("no_repeat", 0),
        least=least["length"],
        end=least["end"],
    )
    logits = steered(logits, steering, Seen(history, None, logits.shape[1]))
    return probabilities(logits, **{step: settings[step] for step in STEPS if step in settings}).log()


def because(settings: dict[str, Any], logits: Tensor, ours: Tensor, theirs: Tensor) -> str:
    """Why one row's kept sets differ; `logits` `(vocab,)` and bool sets."""
    if len(settings) > 1:
        return "ties" if len(logits.unique()) < len(logits) else "other"
    control, value = next(iter(settings.items()))
    p = logits.double().softmax(-1)
    nats = -p.log()
    rank = (nats - (p * nats).sum()).abs() if control == "typical_p" else nats
    single = ours ^ theirs
    border = max(rank[ours].max(), rank[theirs].max()) if control == "typical_p" else rank[ours].max()
    as_many = control != "top_p" or int(ours.sum()) == int(theirs.sum())
    if control in ("top_k", "top_p", "typical_p") and as_many and bool(((rank[single] - border).abs() < 1e-12).all()):
        return "ties"
    if control in ("top_p", "typical_p") and abs(float(p[ours & theirs].sum()) - value) < 1e-5:
        return "rounding"
    if control == "min_p" and bool(((p[single] / p.max() - value).abs() < 1e-5).all()):
        return "rounding"
    return "other"


def compare() -> dict[str, Any]:
    from environment import HOME, make

    python, frozen = make("transformers")
    folder = HOME / "logits"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = data()
    for name, parts in arrays.items():
        for part, values in zip(("logits", "unconditional", "history"), parts, strict=True):
            np.save(folder / f"{name}-{part}.npy", values.numpy())
    write_json(folder / "cases.json", {"data": list(arrays), "cases": CASES})
    subprocess.run([str(python), str(HERE / "peers" / "transformers_logits.py"), str(folder)], check=True)
    cases: dict[str, Any] = {}
    for case, settings in CASES.items():
        cases[case] = {"settings": settings}
        for name, (logits, unconditional, history) in arrays.items():
            ours = log_probabilities(settings, logits, unconditional, history)
            theirs = torch.from_numpy(np.load(folder / f"{name}-{case}-theirs.npy"))
            kept, kept_there = ours > -torch.inf, theirs > -torch.inf
            equal = (kept == kept_there).all(1)
            apart = (ours - theirs)[equal][kept[equal]].abs()
            reasons: dict[str, int] = {}
            for row in (~equal).nonzero().flatten().tolist():
                reason = because(settings, logits[row], kept[row], kept_there[row])
                reasons[reason] = reasons.get(reason, 0) + 1
            cases[case][name] = {
                "rows": len(logits),
                "equal_sets": int(equal.sum()),
                "largest_difference": float(apart.max()) if len(apart) else None,
                "unequal_because": reasons,
            }
    shapes = {name: {"shape": list(parts[0].shape), "dtype": str(parts[0].dtype)} for name, parts in arrays.items()}
    versions = [line for line in frozen if line.startswith(("transformers==", "torch==", "numpy=="))]
    return {"peer": versions, "data": shapes, "cases": cases, "definitions": DEFINITIONS}


def report(results: dict[str, Any]) -> str:
    names = list(results["data"])
    heads = [f"{name} {' x '.join(map(str, results['data'][name]['shape']))}" for name in names]
    lines = ["| control | " + " | ".join(heads) + " |", "|---|" + "---|" * len(names)]
    for case, found in results["cases"].items():
        cells = []
        for name in names:
            one = found[name]
            apart = "–" if one["largest_difference"] is None else f"{one['largest_difference']:.0e}"
            unequal = ", ".join(f"{count} {reason}" for reason, count in one["unequal_because"].items())
            cells.append(f"{apart}; {unequal or 'all sets equal'}")
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"- {line}" for line in results["definitions"])])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", action="store_true", help="print the table of the last results")
    if not parser.parse_args().report:
        torch.set_num_threads(1)
        write_json(RESULTS, compare())
    print(report(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
