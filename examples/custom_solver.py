"""A solver of your own: the midpoint method, whose order is measured, and which then samples.

To use it on the command line (`--solver midpoint`), put the class into a module `midpoint` of an installed package, and
register that: [project.entry-points."morphogen.solvers"] midpoint = "my_package.midpoint"
usage: python examples/custom_solver.py [--steps 500] [--out runs/solver]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from torch import Tensor

import morphogen as mg
from morphogen.core.model import Partial, Predict
from morphogen.core.noise import Noise
from morphogen.sampling.schedule import Schedule
from morphogen.sampling.solvers.base import Solver, intervals, node
from morphogen.testing import check_solver


class Midpoint(Solver):
    """The midpoint method on u = x/√(α² + σ²) in φ = arctan σ/α, where every schedule is the same circle.

    du/dφ = cos φ · noise − sin φ · data. The weight 2 sin(Δφ/2) instead of Δφ makes a step exact for a point of data.
    """

    order: ClassVar[int] = 2
    evaluations_per_step: ClassVar[int] = 2

    def solve(self, schedule: Schedule, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        for interval in intervals(schedule, times, x):
            now, after = interval.now, interval.after
            angle = (now.angle + after.angle) / 2
            middle = node(schedule, schedule.time(now.exact.new_tensor(math.tan(angle))).item(), x)
            first = predict(x, now.t)
            # A trial step on the circle reaches the middle exactly if the prediction does not change.
            second = predict(middle.alpha * first.data + middle.sigma * first.noise, middle.t)
            slope = (middle.alpha * second.noise - middle.sigma * second.data) / middle.radius
            turn = 2 * math.sin((after.angle - now.angle) / 2)
            x = after.radius * (x / now.radius + turn * slope)
            yield interval.draft(x, second.data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("runs/solver"))
    arguments = parser.parse_args()

    for schedule, order in check_solver(Midpoint()).items():
        print(f"order on the schedule '{schedule}': {order:.2f} measured, {Midpoint.order} declared")

    pipe = mg.fit("digits", family="diffusion", train={"steps": arguments.steps}, out=arguments.out)
    for number, picture in enumerate(pipe.sample(4, seed=0, solver=Midpoint(), steps=9)):
        picture.save(arguments.out / f"sample-{number}.png")
    print(f"four samples are in {arguments.out}")


if __name__ == "__main__":
    main()
