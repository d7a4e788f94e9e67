"""The weights that Muon trains."""

from __future__ import annotations

from torch import nn

from .hidden_matrices import hidden_matrices


def test_they_are_the_maps_inside_by_module_path() -> None:
    inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.GroupNorm(1, 2))
    model = nn.ModuleDict(
        {"stem": nn.Linear(2, 2), "inner": inner, "embed": nn.Embedding(3, 2), "output": nn.Linear(2, 2, bias=False)}
    )
    assert hidden_matrices(model) == {"inner.0.weight", "inner.2.weight", "output.weight"}
    assert hidden_matrices(model, frozenset({"output"})) == {"inner.0.weight", "inner.2.weight", "stem.weight"}
    assert hidden_matrices(nn.Linear(2, 2)) == {"weight"}
