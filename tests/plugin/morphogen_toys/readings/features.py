"""What metrics see of readings: the readings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.extractor import Extractor


class RawReadings(Extractor[list[NDArray[np.float64]]]):
    """The readings as they are."""

    name = "raw"
    modality = "readings"

    def features(self, items: list[NDArray[np.float64]]) -> Tensor:
        return torch.from_numpy(np.stack(items)).float()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {}, {}
