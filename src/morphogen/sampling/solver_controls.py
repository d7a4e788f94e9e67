"""Controls of the solver that all families of noisy data share; imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..core.config import Frozen, ReadIf
from .solvers.base import AnySolver, resolve

if TYPE_CHECKING:
    from torch import Tensor

    from .schedule import Schedule


class SolverControls(Frozen):
    """Which solver follows the probability flow, and the noise levels of its steps."""

    read_if: ClassVar[tuple[ReadIf, ...]] = (ReadIf(("sigma_min", "sigma_max"), "spacing", ("karras",)),)

    solver: AnySolver = Field(default_factory=lambda: resolve("dpm_solver"), description="Name of a solver.")
    steps: int = Field(20, ge=1, description="Steps of the solver.")
    # Few uniform steps lie where the brightness of a picture is decided: README of the family diffusion, equation 6.
    spacing: Literal["karras", "uniform"] = Field(
        "karras", description="Spacing of the steps: that of Karras et al., or uniform in time."
    )
    # Those of arXiv 2206.00364, Table 1, for data of deviation 1 in place of 0.5.
    sigma_min: float = Field(0.004, gt=0, description="Noise level of the last step but one, with karras spacing.")
    sigma_max: float = Field(160.0, gt=0, description="Noise level of the first step, with karras spacing.")

    def void(self) -> dict[str, str]:
        """Return the controls that are not read, each with what makes it void."""
        if self.solver.chooses_steps:
            reason = f"solver {self.solver.name}, which chooses its own steps"
            return dict.fromkeys(("steps", "spacing", "sigma_min", "sigma_max"), reason)
        return {}

    def times(self, schedule: Schedule) -> Tensor:
        """Return the times of the solver, `(steps + 1,)`, from noise to data."""
        if self.spacing == "uniform":
            return schedule.uniform_times(self.steps)
        return schedule.karras_times(self.steps, self.sigma_min, self.sigma_max)
