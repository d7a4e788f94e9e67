import numpy as np

from morphogen.data.split import split_by_hash


def test_an_item_keeps_its_side_when_others_come():
    names = [f"cat/{number}.png" for number in range(1000)]
    before = split_by_hash(names[:700])
    after = split_by_hash(names)
    assert (before == after[:700]).all()
    assert 60 <= after.sum() <= 140


def test_seed_and_share_matter():
    names = [str(number) for number in range(2000)]
    assert (split_by_hash(names, seed=0) != split_by_hash(names, seed=1)).any()
    assert 800 <= split_by_hash(names, share=0.5).sum() <= 1200
    assert not split_by_hash(names, share=0).any()


def test_ten_items_always_leave_one_on_each_side():
    for seed in range(50):
        test = split_by_hash([str(number) for number in range(10)], seed=seed)
        assert test.dtype == np.bool_
        assert 1 <= test.sum() <= 9
