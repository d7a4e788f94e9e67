import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphogen.core.errors import UserError
from morphogen.core.space import Field, Grid, Row, Tokens, TokenSequence
from morphogen.data.store import EncodedStore


def grid(index: np.ndarray, steps: int) -> torch.Tensor:
    return torch.from_numpy(((index.astype(np.float64) * 2 - steps) / steps).astype(np.float32))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), steps=st.sampled_from([1, 16, 255, 4095, 65535]), rows=st.integers(1, 9))
def test_numbers_on_a_grid_are_read_exactly(data, steps, rows):
    generator = np.random.default_rng(data.draw(st.integers(0, 1000)))
    space = Grid(2, (3, 4), step=2 / steps)
    x = grid(generator.integers(0, steps + 1, (rows, *space.shape)), steps)
    order = data.draw(st.lists(st.integers(0, rows - 1), max_size=20))
    with tempfile.TemporaryDirectory() as folder:
        store = EncodedStore.build(Path(folder) / "x", space, [x[: rows // 2], x[rows // 2 :]])
        read = store.read(order)
        assert read.dtype == torch.float32
        assert torch.equal(read, x[order])
        assert torch.equal(store.read(torch.arange(rows)), x)


@settings(max_examples=30, deadline=None)
@given(
    space=st.sampled_from(
        [
            *(Tokens(vocab, (3,)) for vocab in (2, 256, 257, 65536, 70000)),
            TokenSequence(258, 3, start=256, end=257),
            Row((Field(3), Field(300, 200), Field(5, 5))),
        ]
    ),
    seed=st.integers(0, 100),
)
def test_tokens_and_cells_are_read_exactly(space, seed):
    sizes = torch.tensor([field.size for field in space.fields] if isinstance(space, Row) else space.vocab)
    x = (torch.rand(6, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * sizes).long()
    with tempfile.TemporaryDirectory() as folder:
        read = EncodedStore.build(Path(folder) / "x", space, iter([x])).read([5, 0, 1, 2])
        assert read.dtype == torch.int64
        assert torch.equal(read, x[[5, 0, 1, 2]])


@pytest.mark.parametrize("read_size", [1, 100, 1 << 26])
def test_numbers_without_a_grid_are_read_exactly(tmp_path, monkeypatch, read_size):
    monkeypatch.setattr("morphogen.data.store._READ", read_size)
    x = torch.randn(50, 7) * 100
    store = EncodedStore.build(tmp_path / "x", Grid(7), [x])
    assert torch.equal(store.read(range(50)), x)
    assert torch.equal(store.read(torch.arange(49, -1, -1)), x.flip(0))
    assert torch.equal(EncodedStore(tmp_path / "x").read([3]), x[3:4])
    store.read([0])[0] = 0  # what is read may be written to


def test_eight_bits_take_one_byte(tmp_path):
    space = Grid(1, (28, 28), step=2 / 255)
    store = EncodedStore.build(tmp_path / "x", space, [torch.full((100, 1, 28, 28), -1.0)])
    assert len(store) == 100
    assert store.space == space
    assert (tmp_path / "x").stat().st_size == 4096 + 100 * 784


def test_values_that_the_space_does_not_promise_are_refused(tmp_path):
    space = Grid(1, (2,), step=2 / 255)
    for bad, message in (
        (torch.tensor([[[0.001, 0.5]]]), "between the steps of"),
        (torch.tensor([[[1.2, 0.0]]]), r"expects -1\.\.1"),
        (torch.zeros(1, 1, 3), r"have shape \(1, 3\)"),
    ):
        with pytest.raises(UserError, match=message):
            EncodedStore.build(tmp_path / "x", space, [bad])
    for token in (-1, 4):
        with pytest.raises(UserError, match=r"tokens lie in .*; expected 0\.\.3"):
            EncodedStore.build(tmp_path / "x", Tokens(4, (2,)), [torch.tensor([[token, 2]])])
    assert not list(tmp_path.iterdir())


def test_a_damaged_store_is_said_in_one_line(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(UserError, match="cannot be opened"):
        EncodedStore(path)
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match="not encoded data"):
        EncodedStore(path)
    EncodedStore.build(path, Grid(2), [torch.zeros(3, 2)])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="cut short in example 2"):
        EncodedStore(path)
    store = EncodedStore.build(path, Grid(2), [torch.zeros(3, 2)])
    with pytest.raises(IndexError):
        store.read([3])


def test_a_full_disk_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(UserError, match="could not write"):
            EncodedStore.build(tmp_path / "x", Grid(100), [torch.zeros(100, 100)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
