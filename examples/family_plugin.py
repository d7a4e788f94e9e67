"""A family from outside: check it against the contract, fit it on digits, sample it.

The family is the package in `examples/plugin`: `options.py`, `grid.py`, `row.py`, and an entry point.
Install it into the environment of morphogen, without its dependencies, because morphogen is on no package registry.

usage: pip install --no-deps --no-build-isolation ./examples/plugin
       python examples/family_plugin.py [--steps 2000] [--out runs/coupling]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import morphogen as mg
from morphogen.core import plugins
from morphogen.testing import check_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("runs/coupling"))
    arguments = parser.parse_args()
    if "coupling" not in plugins.known("families"):
        sys.exit("the family 'coupling' is not installed: pip install --no-deps --no-build-isolation ./examples/plugin")

    # Trains tiny models of grids with 0 to 3 axes, and of rows; raises AssertionError naming a broken promise.
    for kind in plugins.models("coupling"):
        print(*check_model(plugins.model_for("coupling", kind), {"width": 32}), sep="\n")

    # The command line knows it as well: morphogen fit digits --family coupling --condition label --out runs/coupling
    pipe = mg.fit("digits", family="coupling", condition="label", train={"steps": arguments.steps}, out=arguments.out)
    for digit, picture in enumerate(pipe.sample(10, condition={"label": list("0123456789")}, temperature=0.7)):
        picture.save(arguments.out / f"sample-{digit}.png")
    print(f"ten samples are in {arguments.out}")


if __name__ == "__main__":
    main()
