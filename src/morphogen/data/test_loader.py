import torch

from morphogen.data.loader import batch_indices


def test_an_epoch_is_a_permutation_and_the_next_another():
    stream = torch.cat([batch_indices(seed=3, step=step, batch_size=16, count=80) for step in range(10)])
    first, second = stream[:80], stream[80:]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(80))
    assert not torch.equal(first, second)


def test_batches_cross_the_end_of_an_epoch_without_losing_an_item():
    stream = torch.cat([batch_indices(seed=0, step=step, batch_size=7, count=10) for step in range(10)])
    for epoch in range(7):
        assert sorted(stream[epoch * 10 : epoch * 10 + 10].tolist()) == list(range(10))


def test_a_step_needs_no_history():
    backwards = [batch_indices(seed=1, step=step, batch_size=8, count=50) for step in reversed(range(40))][::-1]
    for step, batch in enumerate(backwards):
        assert torch.equal(batch, batch_indices(seed=1, step=step, batch_size=8, count=50))
    assert not torch.equal(backwards[0], batch_indices(seed=2, step=0, batch_size=8, count=50))


def test_fewer_items_than_a_batch_repeat_evenly():
    batch = batch_indices(seed=0, step=5, batch_size=32, count=4)
    assert batch.bincount().tolist() == [8, 8, 8, 8]
    assert batch_indices(seed=0, step=9, batch_size=4, count=1).tolist() == [0, 0, 0, 0]


def test_ranks_share_the_global_batch():
    whole = batch_indices(seed=0, step=2, batch_size=10, count=100)
    parts = [batch_indices(seed=0, step=2, batch_size=10, count=100, rank=rank, ranks=3) for rank in range(3)]
    assert sorted(torch.cat(parts).tolist()) == sorted(whole.tolist())
    assert torch.equal(parts[1], whole[1::3])
    assert [len(part) for part in parts] == [4, 3, 3]
