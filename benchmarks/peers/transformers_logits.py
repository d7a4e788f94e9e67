"""What transformers' own logits processors make of the arrays that `benchmarks/logits.py` left in a folder.

Runs in the environment "transformers"; argument: the folder. Reads cases.json and .npy, writes a .npy for each case.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.generation import logits_process as theirs


def processors(settings: dict[str, Any], unconditional: Tensor) -> theirs.LogitsProcessorList:
    """In the order of the settings."""
    found = theirs.LogitsProcessorList()
    for control, value in settings.items():
        if control == "guidance":
            guide = theirs.UnbatchedClassifierFreeGuidanceLogitsProcessor(value, model=None)
            guide.get_unconditional_logits = lambda _: unconditional[:, None]
            found.append(guide)
        elif control == "temperature":
            found.append(theirs.TemperatureLogitsWarper(value))
        elif control == "top_k":
            found.append(theirs.TopKLogitsWarper(value))
        elif control == "top_p":
            found.append(theirs.TopPLogitsWarper(value))
        elif control == "min_p":
            found.append(theirs.MinPLogitsWarper(value))
        elif control == "typical_p":
            found.append(theirs.TypicalLogitsWarper(value))
        elif control == "repetition":
            found.append(theirs.RepetitionPenaltyLogitsProcessor(value))
        elif control == "no_repeat":
            found.append(theirs.NoRepeatNGramLogitsProcessor(value))
        elif control == "bias":
            found.append(theirs.SequenceBiasLogitsProcessor({(int(symbol),): add for symbol, add in value.items()}))
        elif control == "banned":
            found.append(theirs.NoBadWordsLogitsProcessor([[symbol] for symbol in value]))
        elif control == "allowed":
            allowed = list(value)
            found.append(theirs.PrefixConstrainedLogitsProcessor(lambda row, text, allowed=allowed: allowed, 1))
        elif control == "least":
            found.append(theirs.MinLengthLogitsProcessor(value["length"], value["end"]))
        else:
            raise ValueError(control)
    return found


def main(folder: Path) -> None:
    told = json.loads((folder / "cases.json").read_text())
    for name in told["data"]:
        logits, unconditional, history = (
            torch.from_numpy(np.load(folder / f"{name}-{part}.npy")) for part in ("logits", "unconditional", "history")
        )
        for case, settings in told["cases"].items():
            kept = logits.clone()
            scores = processors(settings, unconditional)(history, logits)
            assert torch.equal(kept, logits), "the input changed"
            np.save(folder / f"{name}-{case}-theirs.npy", scores.double().log_softmax(-1).numpy())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
