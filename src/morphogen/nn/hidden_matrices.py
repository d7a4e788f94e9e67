"""The weights inside a network that Muon trains."""

from __future__ import annotations

from torch import nn

# The first and last maps of a network, embeddings and modulations are not hidden matrices (KellerJordan/Muon). These
# are the names that the networks of this package give them.
_OUTER = frozenset({"stem", "head", "embed", "modulation", "null", "conditioner", "level"})


def hidden_matrices(module: nn.Module, outer: frozenset[str] = _OUTER) -> frozenset[str]:
    """Return the names of the weights of linear maps and convolutions, but those in a submodule named in `outer`.

    A convolution is a matrix of its filters. The names are those of `module.named_parameters()`, for `Phase.muon`.
    """
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    names = (name for name, child in module.named_modules() if isinstance(child, kinds))
    return frozenset(f"{name}.weight".lstrip(".") for name in names if not outer & set(name.split(".")))
