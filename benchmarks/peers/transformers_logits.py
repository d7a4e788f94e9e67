"""The results of transformers' own logits processors on the arrays that `benchmarks/logits.py` wrote to a folder.

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

WITH_ONE_VALUE = {
    "temperature": theirs.TemperatureLogitsWarper,
    "top_k": theirs.TopKLogitsWarper,
    "top_p": theirs.TopPLogitsWarper,
    "min_p": theirs.MinPLogitsWarper,
    "typical_p": theirs.TypicalLogitsWarper,
    "repetition_penalty": theirs.RepetitionPenaltyLogitsProcessor,
    "no_repeat_ngram": theirs.NoRepeatNGramLogitsProcessor,
}


def processors(settings: dict[str, Any], unconditional: Tensor, end: int) -> theirs.LogitsProcessorList:
    """Return the processors of these settings, in their order."""
    chosen = theirs.LogitsProcessorList()
    for control, value in settings.items():
        if control in WITH_ONE_VALUE:
            chosen.append(WITH_ONE_VALUE[control](value))
        elif control == "guidance":
            guide = theirs.UnbatchedClassifierFreeGuidanceLogitsProcessor(value, model=None)
            guide.get_unconditional_logits = lambda _: unconditional[:, None]
            chosen.append(guide)
        elif control == "logit_bias":
            chosen.append(theirs.SequenceBiasLogitsProcessor({(int(token),): bias for token, bias in value.items()}))
        elif control == "banned":
            chosen.append(theirs.NoBadWordsLogitsProcessor([[token] for token in value]))
        elif control == "allowed":
            allowed = list(value)
            chosen.append(theirs.PrefixConstrainedLogitsProcessor(lambda row, text, allowed=allowed: allowed, 1))
        elif control == "min_length":
            chosen.append(theirs.MinLengthLogitsProcessor(value, end))
        else:
            raise ValueError(control)
    return chosen


def main(folder: Path) -> None:
    request = json.loads((folder / "cases.json").read_text())
    for name in request["data"]:
        logits, unconditional, history = (
            torch.from_numpy(np.load(folder / f"{name}-{part}.npy")) for part in ("logits", "unconditional", "history")
        )
        for case, settings in request["cases"].items():
            before = logits.clone()
            scores = processors(settings, unconditional, request["end"])(history, logits)
            assert torch.equal(before, logits), "the input changed"
            np.save(folder / f"{name}-{case}-theirs.npy", scores.double().log_softmax(-1).numpy())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
