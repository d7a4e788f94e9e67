"""Fit a class-conditional diffusion model from Python, sample it, and draw the same samples again.

usage: python examples/fit_and_sample.py [--minutes 2 | --steps 5] [--out runs/example]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import morphogen as mg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--steps", type=int, help="train this many steps instead of for some minutes")
    parser.add_argument("--out", type=Path, default=Path("runs/example"))
    arguments = parser.parse_args()

    mg.fit(
        "digits",  # or a folder, a file, a Hub id, an array, a list of pictures, (items, labels)
        family="diffusion",
        condition="label",
        minutes=None if arguments.steps else arguments.minutes,
        train={"steps": arguments.steps},
        out=arguments.out,
    )

    pipe = mg.load(arguments.out)
    pictures = pipe.sample(10, seed=0, condition={"label": list("0123456789")}, guidance=1.5)
    for digit, picture in enumerate(pictures):
        picture.save(arguments.out / f"sample-{digit}.png")

    # A seed is one picture, whatever else is in its batch.
    alone = pipe.sample(1, seed=7, condition={"label": "7"}, guidance=1.5)[0]
    largest = max(abs(a - b) for a, b in zip(alone.tobytes(), pictures[7].tobytes(), strict=True))
    print(f"seed 7 alone and in a batch of 10 differ by {largest} grey levels at most")

    nats = mg.likelihood.log_likelihood(pipe, pictures[:2], condition={"label": ["0", "1"]})
    kind = "exact" if pipe.model.exact else "a lower bound"
    print(f"log-likelihood of the first two, in nats ({kind}): {[round(value) for value in nats.tolist()]}")


if __name__ == "__main__":
    main()
