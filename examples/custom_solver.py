"""A solver of one's own: the midpoint method, measured against its declared order, then used for sampling.

To name it on the command line (`--solver midpoint`) put the class in a module called `midpoint` of an installed
package, and register that: [project.entry-points."morphogen.solvers"] midpoint = "my_package.midpoint"
usage: python examples/custom_solver.py [--steps 500] [--out runs/solver]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import ClassVar

from torch import Tensor

import morphogen as mg
from morphogen.core.model import Partial, Predict
from morphogen.core.noise import Noise
from morphogen.sampling.path import Path
from morphogen.sampling.solvers.base import Solver, instant, legs
from morphogen.testing import check_solver


class Midpoint(Solver):
    """The midpoint method on u = x/√(α² + σ²) in φ = arctan σ/α, where every path is the same circle.

    du/dφ = cos φ · noise − sin φ · data. The weight 2 sin(Δφ/2) instead of Δφ makes a step exact for a point of data.
    """

    order: ClassVar[int] = 2
    evaluations_per_step: ClassVar[int] = 2

    def solve(self, path: Path, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        for leg in legs(path, times, x):
            now, after = leg.now, leg.after
            angle = (now.angle + after.angle) / 2
            middle = instant(path, path.time(now.exact.new_tensor(math.tan(angle))).item(), x)
            first = predict(x, now.t)
            # A trial step on the circle leads to the middle exactly where the prediction does not change.
            second = predict(middle.alpha * first.data + middle.sigma * first.noise, middle.t)
            slope = (middle.alpha * second.noise - middle.sigma * second.data) / middle.radius
            turn = 2 * math.sin((after.angle - now.angle) / 2)
            x = after.radius * (x / now.radius + turn * slope)
            yield leg.draft(x, second.data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--out", type=FilePath, default=FilePath("runs/solver"))
    arguments = parser.parse_args()

    for path, order in check_solver(Midpoint()).items():
        print(f"order on the path '{path}': {order:.2f} measured, {Midpoint.order} declared")

    pipe = mg.fit("digits", family="diffusion", train={"steps": arguments.steps}, out=arguments.out)
    for number, picture in enumerate(pipe.sample(4, seed=0, solver=Midpoint(), steps=9)):
        picture.save(arguments.out / f"sample-{number}.png")
    print(f"four samples are in {arguments.out}")


if __name__ == "__main__":
    main()
