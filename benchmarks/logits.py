"""Controls of sampling compared with transformers' own logits processors, on random logits and on logits with ties.

Run: python benchmarks/logits.py      a minute, after the peer's environment is made once; results/logits.json
     python benchmarks/logits.py --report      print the table of the last results

For each control: in how many rows of logits are the sets of remaining tokens equal, and in these, what is the largest
difference of the log-probabilities. Rows whose sets differ are counted by the reason: "ties", if all tokens in one set
only are exactly as likely (typical: as typical) as the token at the border of the set; "rounding", if the border is a
sum or quotient within 1e-5; "other" is a disagreement. With several controls at once, a row with any ties counts as
"ties".
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

from morphogen.sampling.logits import controlled, guided
from morphogen.sampling.penalties import TokenHistory, process_logits
from morphogen.sampling.token_controls import LogitControls

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "logits.json"
sys.path.insert(0, str(HERE / "peers"))

END = 3
# A case is fields of LogitControls, and `min_length`. The peer applies them in the order in which they are listed.
ALL: dict[str, Any] = {
    "guidance": 1.5,
    "repetition_penalty": 1.2,
    "logit_bias": {0: 1.5, 5: -1.5},
    "banned": [4, 9],
    "no_repeat_ngram": 3,
    "min_length": 41,
    "temperature": 0.9,
    "top_k": 20,
    "top_p": 0.95,
    "min_p": 0.02,
    "typical_p": 0.95,
}
CASES: dict[str, dict[str, Any]] = {
    "guidance 1.5": {"guidance": 1.5},
    "guidance 0.5": {"guidance": 0.5},
    "repetition penalty 1.3": {"repetition_penalty": 1.3},
    "repetition penalty 0.8": {"repetition_penalty": 0.8},
    "bias": {"logit_bias": {0: 2.5, 5: -1.5, 7: 10.0}},
    "allowed": {"allowed": list(range(0, 40, 3))},
    "banned": {"banned": [0, 4, 9, 11]},
    "no repeated 1-gram": {"no_repeat_ngram": 1},
    "no repeated 2-gram": {"no_repeat_ngram": 2},
    "no repeated 3-gram": {"no_repeat_ngram": 3},
    "minimum length, below": {"min_length": 41},
    "minimum length, reached": {"min_length": 40},
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
    # Guidance and a repetition penalty together have another meaning in transformers: see DEFINITIONS.
    "all but guidance": {control: value for control, value in ALL.items() if control != "guidance"},
    "all but repetition penalty": {control: value for control, value in ALL.items() if control != "repetition_penalty"},
}
DEFINITIONS = [
    "top-k: transformers keeps all tokens that are as likely as the k-th, so more than k where there are ties; "
    "morphogen keeps exactly k, the lower ones of equal tokens.",
    "top-p: both keep the fewest tokens that reach the mass, at least one. Of equal tokens at the border, transformers "
    "keeps those that its unstable sort puts last; morphogen keeps the lower ones.",
    "typical: transformers keeps all tokens as typical as the last one; morphogen of equal tokens the lower ones.",
    "min_tokens_to_keep is 1 in transformers by default, and always 1 in morphogen.",
    "Rounding: transformers sums probabilities in the precision of the logits, morphogen always in double precision.",
    "Order in transformers' generate: guidance, bias, repetition penalty, no repeated n-gram, banned, minimum length, "
    "temperature, top-k, top-p, min-p, typical. In morphogen the penalties come before the bias, so that a bias is "
    "added in full. Both are compared in morphogen's order.",
    "Guidance works on log-probabilities in transformers, on logits in morphogen: the same distribution. But a "
    "repetition penalty depends on the sign: after guidance transformers multiplies all logits, because all "
    "log-probabilities are negative.",
    "The history has no padding in transformers: padding tokens count as repeated. In morphogen they do not.",
    "transformers has no presence and frequency penalties; morphogen tests them against OpenAI's definition.",
    "Temperature 0 is an error in transformers, and greedy in morphogen.",
]


def data() -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Return conditional and unconditional logits `(rows, vocab)`, and histories of 40 tokens, by name."""
    generator = torch.Generator().manual_seed(0)

    def random(rows: int, vocab: int, history_vocab: int) -> tuple[Tensor, Tensor, Tensor]:
        logits, unconditional = torch.randn(2, rows, vocab, generator=generator, dtype=torch.float64) * 3
        return logits, unconditional, torch.randint(0, history_vocab, (rows, 40), generator=generator)

    tied = torch.randint(-2, 3, (2, 1000, 60), generator=generator).double()
    single = random(1000, 300, 12)
    return {
        "double": random(1000, 300, 12),
        "single": (single[0].float(), single[1].float(), single[2]),
        "large": random(16, 50_000, 30),
        "ties": (tied[0], tied[1], torch.randint(0, 8, (1000, 40), generator=generator)),
    }


def log_probabilities(settings: dict[str, Any], logits: Tensor, unconditional: Tensor, history: Tensor) -> Tensor:
    """Return our log-probabilities `(rows, vocab)`."""
    controls = LogitControls(**{name: value for name, value in settings.items() if name != "min_length"})
    if "guidance" in settings:
        logits = guided(logits, unconditional, controls.guidance)
    logits = process_logits(
        logits,
        controls,
        TokenHistory(history, None, logits.shape[1]),
        min_length=settings.get("min_length", 0),
        end=END,
    )
    return controlled(logits, controls).log()


def reason_of(settings: dict[str, Any], logits: Tensor, ours: Tensor, theirs: Tensor) -> str:
    """Return why the sets of one row differ, from its logits `(vocab,)` and both sets, bool `(vocab,)`."""
    if len(settings) > 1:
        return "ties" if len(logits.unique()) < len(logits) else "other"
    control, value = next(iter(settings.items()))
    p = logits.double().softmax(-1)
    nats = -p.log()
    rank = (nats - (p * nats).sum()).abs() if control == "typical_p" else nats
    in_one_only = ours ^ theirs
    border = max(rank[ours].max(), rank[theirs].max()) if control == "typical_p" else rank[ours].max()
    as_many = control != "top_p" or int(ours.sum()) == int(theirs.sum())
    at_border = bool(((rank[in_one_only] - border).abs() < 1e-12).all())
    if control in ("top_k", "top_p", "typical_p") and as_many and at_border:
        return "ties"
    if control in ("top_p", "typical_p") and abs(float(p[ours & theirs].sum()) - value) < 1e-5:
        return "rounding"
    if control == "min_p" and bool(((p[in_one_only] / p.max() - value).abs() < 1e-5).all()):
        return "rounding"
    return "other"


def compare() -> dict[str, Any]:
    """Return the results of all cases, and the versions of the peer's packages."""
    from environment import HOME, make

    python, packages = make("transformers")
    folder = HOME / "logits"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = data()
    for name, parts in arrays.items():
        for part, values in zip(("logits", "unconditional", "history"), parts, strict=True):
            np.save(folder / f"{name}-{part}.npy", values.numpy())
    write_json(folder / "cases.json", {"data": list(arrays), "cases": CASES, "end": END})
    subprocess.run([str(python), str(HERE / "peers" / "transformers_logits.py"), str(folder)], check=True)
    cases: dict[str, Any] = {}
    for case, settings in CASES.items():
        cases[case] = {"settings": settings}
        for name, parts in arrays.items():
            theirs = torch.from_numpy(np.load(folder / f"{name}-{case}-theirs.npy"))
            cases[case][name] = difference(settings, parts, theirs)
    shapes = {name: {"shape": list(parts[0].shape), "dtype": str(parts[0].dtype)} for name, parts in arrays.items()}
    versions = [line for line in packages if line.startswith(("transformers==", "torch==", "numpy=="))]
    return {"peer": versions, "data": shapes, "cases": cases, "definitions": DEFINITIONS}


def difference(settings: dict[str, Any], parts: tuple[Tensor, Tensor, Tensor], theirs: Tensor) -> dict[str, Any]:
    """Return how our log-probabilities differ from the peer's, `(rows, vocab)`."""
    ours = log_probabilities(settings, *parts)
    our_set, their_set = ours > -torch.inf, theirs > -torch.inf
    equal = (our_set == their_set).all(1)
    differences = (ours - theirs)[equal][our_set[equal]].abs()
    reasons: dict[str, int] = {}
    for row in (~equal).nonzero().flatten().tolist():
        reason = reason_of(settings, parts[0][row], our_set[row], their_set[row])
        reasons[reason] = reasons.get(reason, 0) + 1
    return {
        "rows": len(ours),
        "equal_sets": int(equal.sum()),
        "largest_difference": float(differences.max()) if len(differences) else None,
        "unequal_because": reasons,
    }


def report(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    names = list(results["data"])
    heads = [f"{name} {' x '.join(map(str, results['data'][name]['shape']))}" for name in names]
    lines = ["| control | " + " | ".join(heads) + " |", "|---|" + "---|" * len(names)]
    for case, by_name in results["cases"].items():
        cells = []
        for name in names:
            figures = by_name[name]
            largest = "–" if figures["largest_difference"] is None else f"{figures['largest_difference']:.0e}"
            unequal = ", ".join(f"{count} {reason}" for reason, count in figures["unequal_because"].items())
            cells.append(f"{largest}; {unequal or 'all sets equal'}")
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"- {line}" for line in results["definitions"])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="print the table of the last results")
    if not parser.parse_args().report:
        torch.set_num_threads(1)
        write_json(RESULTS, compare())
    print(report(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
