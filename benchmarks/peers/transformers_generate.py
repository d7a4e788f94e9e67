"""The peer on decoding: transformers' `generate` with its cache, GPT-2 classes, random weights.

Prints one JSON line: tokens/s by batch and precision, each the best of a few rounds.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--vocab", type=int, required=True)
    parser.add_argument("--prompt", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--batches", type=int, nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    rates: dict[str, dict[str, float]] = {}
    for precision in arguments.precisions:
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=arguments.vocab,
            n_positions=arguments.prompt + arguments.tokens,
            n_embd=arguments.width,
            n_layer=arguments.layers,
            n_head=arguments.width // 64,
        )
        model = GPT2LMHeadModel(config).eval().to(getattr(torch, precision))
        for batch in arguments.batches:
            prompt = torch.randint(0, arguments.vocab, (batch, arguments.prompt))

            def draw(count: int, prompt: torch.Tensor = prompt, model: GPT2LMHeadModel = model) -> float:
                start = time.perf_counter()
                with torch.inference_mode():
                    tokens = model.generate(
                        prompt,
                        attention_mask=torch.ones_like(prompt),
                        do_sample=True,
                        top_k=0,
                        use_cache=True,
                        max_new_tokens=count,
                        min_new_tokens=count,
                        eos_token_id=None,
                        pad_token_id=0,
                    )
                assert tokens.shape[1] == prompt.shape[1] + count
                return time.perf_counter() - start

            draw(4)
            if draw(4) > 4:  # a processor that emulates this precision would take minutes
                continue
            seconds = min(draw(arguments.tokens) for _ in range(arguments.rounds))
            rates.setdefault(str(batch), {})[precision] = round(batch * arguments.tokens / seconds, 1)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
