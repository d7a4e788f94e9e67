"""The contract of a feature extractor: what metrics see of items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor

Items = TypeVar("Items")


class Extractor(ABC, Generic[Items]):
    """Turns items of one modality into features. Figures compare only under one `name`.

    Features depend on the item alone, not on those beside it. `name` stands in brackets behind each figure, as in
    `FD[name]`; of weights that were trained or read it ends in the first eight digits of their SHA-256.
    """

    name: str
    modality: str
    classes: tuple[str, ...] = ()  # where it is a classifier
    of_data: ClassVar[bool] = False  # whether these are the classes of the user's data
    at_once: ClassVar[int] = 256  # items that are worth handing over together

    @abstractmethod
    def features(self, items: Items) -> Tensor:
        """Return features `(N, d)`, float32, on the CPU. Raises UserError on items that it cannot read."""

    def probabilities(self, items: Items) -> Tensor:
        """Return the probability of each class, `(N, len(classes))`, on the CPU, where it is a classifier."""
        raise NotImplementedError(f"{self.name} knows no classes")

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return all that is needed to build it again, if trained on the user's data: plain JSON, and named tensors."""
        raise NotImplementedError(f"{self.name} is not saved")
