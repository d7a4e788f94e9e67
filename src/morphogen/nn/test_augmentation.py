"""Augmentation: the parameters that the network is told are the change, and every plane is changed alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from .augmentation import PARAMETERS, Augmentation, augment, is_picture, random_augmentation

HEIGHT, WIDTH = 12, 20


def _changes(probability: float, count: int = 2000) -> Augmentation:
    torch.manual_seed(0)
    return random_augmentation(count, (HEIGHT, WIDTH), probability, torch.device("cpu"))


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _forward(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the change in cells, from the centre, that the parameters describe."""
    flip_x, flip_y, scale, cos, sin, stretch_x, stretch_y, *shift = parameters
    axis, stretch = _rotation(np.arctan2(stretch_y, stretch_x) / 2), 2 ** (0.2 * np.hypot(stretch_x, stretch_y))
    linear = axis @ np.diag([stretch, 1 / stretch]) @ axis.T @ _rotation(np.arctan2(sin, cos + 1))
    linear = linear @ np.diag([1 - 2 * flip_x, 1 - 2 * flip_y]) * 2 ** (0.2 * scale)
    return linear, np.array(shift) / 8 * [WIDTH, HEIGHT]


def test_the_parameters_say_all_of_the_change() -> None:
    """Undone by the inverse, the change that they describe leaves every place where it was, in a picture not square."""
    half = np.array([WIDTH, HEIGHT]) / 2
    for parameters, inverse in zip(*(part.double().numpy() for part in _changes(1.0, 50)), strict=True):
        linear, shift = _forward(parameters)
        places = np.random.default_rng(0).normal(size=(10, 2))
        changed = places @ linear.T + shift
        np.testing.assert_allclose((changed / half) @ inverse[:, :2].T + inverse[:, 2], places / half, atol=1e-4)


def test_probability() -> None:
    """Each of six changes happens with it; half of the mirrorings leave a picture as it was."""
    parameters = _changes(0.12, 20_000).parameters
    assert parameters.shape == (20_000, PARAMETERS)
    share = (parameters != 0).float().mean(0)
    assert share[:2].tolist() == pytest.approx([0.06, 0.06], abs=0.01)
    assert share[2:7].tolist() == pytest.approx([0.12] * 5, abs=0.01)
    unchanged = (parameters == 0).all(1).float().mean().item()
    assert unchanged == pytest.approx(0.94**2 * 0.88**4, abs=0.03)  # a shift below half a cell is none


def _only(change: Augmentation, columns: list[int]) -> Tensor:
    others = [column for column in range(PARAMETERS) if column not in columns]
    return (change.parameters[:, others] == 0).all(1) & (change.parameters[:, columns] != 0).all(1)


def test_pictures_are_mirrored_and_shifted_exactly() -> None:
    change, x = _changes(0.3, 500), torch.randn(500, 3, HEIGHT, WIDTH)
    y = augment(x, change)
    for columns, dims in (([], ()), ([0], (3,)), ([1], (2,)), ([0, 1], (2, 3))):
        chosen = _only(change, columns)
        assert chosen.any()
        torch.testing.assert_close(y[chosen], x[chosen].flip(dims) if dims else x[chosen], atol=1e-4, rtol=0)
    chosen = _only(change, [7]).nonzero().flatten()
    assert len(chosen)
    for index in chosen.tolist():
        by = round(float(change.parameters[index, 7]) / 8 * WIDTH)
        inside = slice(max(0, by) + 2, WIDTH + min(0, by) - 2)
        torch.testing.assert_close(y[index][..., inside], x[index].roll(by, 2)[..., inside], atol=1e-4, rtol=0)


def test_a_smaller_picture_and_the_frames_of_a_film_change_alike() -> None:
    change = _changes(1.0, 30)
    rows, columns = torch.meshgrid(torch.linspace(0, 3, HEIGHT), torch.linspace(0, 3, WIDTH), indexing="ij")
    x = ((rows + torch.arange(30).reshape(-1, 1, 1) / 10).sin() * columns.cos()).unsqueeze(1)
    error = F.avg_pool2d(augment(x, change), 2) - augment(F.avg_pool2d(x, 2), change)
    assert error.abs().mean() < 0.03 < (F.avg_pool2d(x, 2) - augment(F.avg_pool2d(x, 2), change)).abs().mean()
    film = torch.randn(30, 2, 3, HEIGHT, WIDTH)
    torch.testing.assert_close(augment(film, change)[:, :, 1], augment(film[:, :, 1], change))


def test_only_what_has_height_and_width_is_a_picture() -> None:
    assert is_picture(("height", "width"))
    assert is_picture(("time", "height", "width"))
    assert not any(map(is_picture, [(), ("time",), ("frequency", "time"), ("width", "height")]))
