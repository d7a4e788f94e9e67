"""A family from outside: check it against the contract, fit it on digits, sample it.

The family is the package in `examples/plugin`: `options.py`, `model.py`, and an entry point in its `pyproject.toml`.
usage: pip install ./examples/plugin; python examples/family_plugin.py [--steps 2000] [--out runs/coupling]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import morphogen as mg
from morphogen.core import plugins
from morphogen.core.model import GenerativeModel
from morphogen.testing import check_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("runs/coupling"))
    arguments = parser.parse_args()
    if "coupling" not in plugins.known("families"):
        sys.exit("the family 'coupling' is not installed: pip install ./examples/plugin")

    # Trains tiny models on every kind of space the family accepts; raises AssertionError naming a broken promise.
    family = plugins.sole(plugins.load("families", "coupling", "model"), GenerativeModel)
    for line in check_model(family, {"width": 32}):
        print(line)

    # The command line knows it as well: morphogen fit digits --family coupling --condition label --out runs/coupling
    pipe = mg.fit("digits", family="coupling", condition="label", train={"steps": arguments.steps}, out=arguments.out)
    for digit, picture in enumerate(pipe.sample(10, condition={"label": list("0123456789")}, temperature=0.7)):
        picture.save(arguments.out / f"sample-{digit}.png")
    print(f"ten samples are in {arguments.out}")


if __name__ == "__main__":
    main()
