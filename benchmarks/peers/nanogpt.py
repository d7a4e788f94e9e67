"""The peer on text: a GPT of nanoGPT's configuration for CPUs, written with transformers' GPT-2 classes.

4 layers, 4 heads, 128 wide, no dropout, context 64, batches of 12, 2,000 steps of AdamW at 1e-3 (betas .9, .99, weight
decay .1 on matrices, clip 1), 100 steps of warm-up and a cosine to 1e-4. The first 90 % of the text, by characters.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
from text_score import score
from torch import Tensor
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

CONTEXT, BATCH, STEPS, RATE, LOWEST, WARM_UP = 64, 12, 2000, 1e-3, 1e-4, 100


def main() -> None:
    started = time.perf_counter()
    parser = argparse.ArgumentParser()
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--score", action="store_true", help="score the model in --out instead of training")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(arguments.seed)
    text = arguments.text.read_text()
    alphabet = sorted(set(text))
    tokens = torch.tensor([alphabet.index(character) for character in text])
    train, test = tokens[: int(0.9 * len(text))], tokens[int(0.9 * len(text)) :]
    if arguments.score:
        model = GPT2LMHeadModel.from_pretrained(arguments.out).eval()

        def nats(x: Tensor) -> Tensor:
            logits = model(x[:, :-1]).logits
            return functional.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), reduction="none").view(len(x), -1)

        print(json.dumps(score(nats, test, CONTEXT + 1)))  # of a window, all but the last is read
        return
    config = GPT2Config(
        vocab_size=len(alphabet),
        n_positions=CONTEXT,
        n_embd=128,
        n_layer=4,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    model = GPT2LMHeadModel(config).train()
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99))
    for step in range(STEPS):
        fall = 0.5 * (1 + math.cos(math.pi * max(0, step - WARM_UP) / (STEPS - WARM_UP)))
        rate = RATE * (step + 1) / (WARM_UP + 1) if step < WARM_UP else LOWEST + (RATE - LOWEST) * fall
        for group in optimiser.param_groups:
            group["lr"] = rate
        begin = torch.randint(len(train) - CONTEXT, (BATCH,))
        x = torch.stack([train[at : at + CONTEXT + 1] for at in begin.tolist()])
        logits = model(x[:, :-1]).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 200 == 0:
            print(f"{time.perf_counter() - started:6.1f} s  step {step}  loss {loss.item():.4f}", flush=True)
    model.save_pretrained(arguments.out)
    print(json.dumps({"steps": STEPS, "training_seconds": round(time.perf_counter() - started, 1)}))


if __name__ == "__main__":
    main()
