"""The start-up probe: what it chooses from the speeds that it measures."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from two_parts import IN_TURN, ITEMS, Nothing, TwoParts

from morphogen.core import plugins
from morphogen.core.config import Frozen
from morphogen.core.errors import UserError
from morphogen.core.model import Batch, GenerativeModel, Phase
from morphogen.core.space import Field, Grid, Row, Tokens, TokenSequence
from morphogen.training.options import TrainOptions
from morphogen.training.probe import Probe, needed_items, share_of_items
from morphogen.training.speed import Speed, Stopwatch
from morphogen.training.stages import Stage, stage_at, stages

seconds = st.floats(1e-6, 1e-2)


@given(item=seconds, step=seconds, budget=st.floats(1, 1e4), processes=st.integers(1, 8), least=st.integers(1, 9999))
def test_a_batch_leaves_enough_steps_and_wastes_none(
    item: float, step: float, budget: float, processes: int, least: int
) -> None:
    measured = Speed(item, step, min_steps=least)
    batch = measured.batch(budget, 10**6, processes)
    steps = {size: measured.rate(size, processes) * budget / size for size in (16, 32, 64, 128, 256, 512)}
    assert batch == 16 or steps[batch] >= least
    assert all(count < least for size, count in steps.items() if size > batch)
    assert measured.rate(batch, processes) == pytest.approx(batch / (batch * item / processes + step))


def test_a_batch_is_no_larger_than_the_data() -> None:
    fast = Speed(1e-9, 1e-9)
    assert fast.batch(600.0, 100, 1) == 64
    assert fast.batch(600.0, 3, 1) == 16
    assert fast.batch(None, 10**6, 1) == 128


@given(load=st.floats(1, 100), item=seconds, step=seconds, budget=st.floats(1, 1e4))
def test_other_programs_make_no_batch_smaller(load: float, item: float, step: float, budget: float) -> None:
    loaded = Speed(load * item, load * step, load=load)
    assert loaded.batch(1.001 * budget, 10**6, 1) >= Speed(item, step).batch(budget, 10**6, 1)


def test_phases_that_run_together_add_up() -> None:
    """A phase on every hundredth step costs a hundredth; one that comes later is of another stage."""

    class Slow(TwoParts):
        def forward(self, batch: Batch, phase: str = "first"):  # type: ignore[no-untyped-def]
            if phase == "second":
                time.sleep(0.1)  # far more than what the rest takes, whatever else the machine does
            return super().forward(batch, phase)

    first = Phase("first", "first")
    plans = {
        "alone": (first,),
        "both": (first, Phase("second", "second")),
        "lazy": (first, Phase("second", "second", every=100)),
        "later": (first, Phase("second", "second", span=(0.5, 1.0))),
    }
    seconds = {
        name: Stopwatch(Slow(plan), "fp32", TrainOptions()).speeds(Batch(ITEMS), (1,), 0.0)[1].item
        for name, plan in plans.items()
    }
    assert seconds["both"] > 10 * max(seconds["alone"], seconds["later"])
    assert seconds["both"] > 10 * seconds["lazy"]


def test_a_stage_has_the_phases_that_run_together() -> None:
    first, second = Phase("first", "first", span=(0.0, 0.3)), Phase("second", "second", span=(0.3, 1.0))
    always, once = Phase("always"), Phase("once", span=(1.0, 1.0))
    assert stages([first, second, once]) == [Stage((first,), (0.0, 0.3)), Stage((second,), (0.3, 1.0))]
    assert stages([once, always, second]) == [Stage((always,), (0.0, 0.3)), Stage((always, second), (0.3, 1.0))]
    assert stages([always]) == [Stage((always,), (0.0, 1.0))]
    parts = stages([first, second])
    assert [stage_at(parts, progress) for progress in (0.0, 0.29, 0.3, 0.99, 1.0)] == [0, 0, 1, 1, 1]
    assert parts[1].share == pytest.approx(0.7)


def test_larger_items_need_not_be_as_many() -> None:
    many = 60_000
    needed = [needed_items(Grid(3, size), 600.0, many) for size in ((), (7, 7), (28, 28), (64, 64), (256, 256))]
    assert needed[0] == needed[1] == needed[2] == pytest.approx(225_000, rel=0.01)
    assert needed[2] > 2 * needed[3] > 4 * needed[4]
    for space in (Tokens(10, (28, 28)), Row((Field(3),))):
        assert needed_items(space, 600.0, many) == needed[2]
    contexts = [needed_items(TokenSequence(10, context, 8, 9), 600.0, many) for context in (100, 200)]
    assert contexts[0] == pytest.approx(2 * contexts[1]), "of sequences tokens count, not items"


def test_few_pictures_need_not_be_read_as_often() -> None:
    needed = [needed_items(Grid(3, (28, 28)), 60.0, items) for items in (10, 2000, 5000, 20_000, 10**6)]
    assert needed == pytest.approx([22_800, 22_800, 28_284, 40_000, 40_000], rel=1e-4)
    sequences = [needed_items(TokenSequence(10, 100, 8, 9), 60.0, items) for items in (10, 10**6)]
    assert sequences[0] == sequences[1]


def test_small_networks_of_pictures_need_fewer_items() -> None:
    model = plugins.model_for("diffusion", Grid)
    networks = [model(Grid(1, (28, 28)), {}, model.Options(width=width)) for width in (16, 32, 48, 64)]
    assert [share_of_items(one) for one in networks] == pytest.approx([0.12, 0.43, 0.97, 1.0], abs=0.01)
    latents = plugins.model_for("latent_diffusion", Grid)
    assert share_of_items(latents(Grid(1, (64, 64)), {}, latents.Options())) == 1


class Width(Frozen):
    width: int = 1


class Wide(TwoParts):
    """As slow as it is wide."""

    def __init__(self, options: Width) -> None:
        super().__init__((Phase("first", "first"),))
        self.width = options.width

    def forward(self, batch: Batch, phase: str = "first"):  # type: ignore[no-untyped-def]
        torch.linalg.svd(torch.ones(self.width, self.width))
        return super().forward(batch, phase)


def test_more_time_makes_no_smaller_network() -> None:
    def build(options: Frozen) -> GenerativeModel:
        assert isinstance(options, Width)
        return Wide(options)

    def chosen_width(budget: float | None, **options: object) -> int:
        choice = Probe(
            build=build,
            sample=lambda count: Batch(ITEMS[:count]),
            items=64,
            seconds=budget,
            options=TrainOptions(**options),  # type: ignore[arg-type]
            processes=1,
            device=torch.device("cpu"),
        ).choose(Width(), [{"width": width} for width in (2, 100, 400)])
        assert isinstance(choice.options, Width)
        if "batch" in options:
            assert choice.batch == options["batch"]
        return choice.options.width

    widths = [chosen_width(budget, batch=16, precision="fp32") for budget in (1e-12, 10.0, 1e15)]
    assert widths == sorted(widths)
    assert (widths[0], widths[-1]) == (2, 400)
    assert chosen_width(None) == 1, "without a budget the options stay as they are"


class Sleepy(Wide):
    """Takes as many hundredths of a second for an item as it is wide, whatever else the machine does."""

    def __init__(self, options: Width, plan: Sequence[Phase]) -> None:
        super().__init__(options)
        self.plan = plan

    def forward(self, batch: Batch, phase: str = "first"):  # type: ignore[no-untyped-def]
        time.sleep(0.01 * self.width * len(batch.x))
        return TwoParts.forward(self, batch, phase)


@pytest.mark.parametrize("plan", [(Phase("first", "first"),), IN_TURN])
def test_the_probe_begins_with_the_smallest_network_and_ends_at_a_tenth_of_the_budget(plan: Sequence[Phase]) -> None:
    built: list[int] = []

    def build(options: Frozen) -> GenerativeModel:
        assert isinstance(options, Width)
        built.append(options.width)
        return Sleepy(options, plan)

    choice = Probe(
        build=build,
        sample=lambda count: Batch(ITEMS[:count]),
        items=64,
        seconds=6.0,
        options=TrainOptions(),
        processes=1,
        device=torch.device("cpu"),
    ).choose(Width(), [{"width": width} for width in (1, 2, 4)])
    assert set(built) == {1}
    assert choice.options == Width(width=1)
    assert choice.seconds < 1.2, "one step of all 64 items takes longer than the probe may"
    assert list(choice.rates) == [phase.name for phase in plan]
    assert all(25 < rate <= 100 for rate in choice.rates.values()), "slower only where other programs delay a sleeper"


class InTurn(Wide):
    """Two phases, one after the other; an item takes the second a thousandth of the width in seconds."""

    min_steps = 1

    def __init__(self, options: Width, share: float, space: Grid) -> None:
        super().__init__(options)
        first = Phase("first", "first", span=(0.0, share))
        self.plan = (first, Phase("second", "second", span=(share, 1.0), space=space))

    def forward(self, batch: Batch, phase: str = "first"):  # type: ignore[no-untyped-def]
        if phase == "second":
            time.sleep(1e-3 * self.width * len(batch.x))
        return TwoParts.forward(self, batch, phase)


@pytest.mark.parametrize(
    ("share", "size", "width"),
    [
        (0.5, (28, 28), 4),
        (0.5, (256, 256), 16),  # larger grids need fewer items
        (0.998, (28, 28), 1),  # hardly any time for the second phase
    ],
)
def test_every_phase_reads_enough_items_in_its_share(share: float, size: tuple[int, int], width: int) -> None:
    seconds, space = 85_000.0, Grid(1, size)

    def build(options: Frozen) -> GenerativeModel:
        assert isinstance(options, Width)
        return InTurn(options, share, space)

    choice = Probe(
        build=build,
        sample=lambda count: Batch(ITEMS[:count]),
        items=64,
        seconds=seconds,
        options=TrainOptions(batch=16, precision="fp32"),
        processes=1,
        device=torch.device("cpu"),
    ).choose(Width(), [{"width": width} for width in (1, 4, 16)])
    later = (1 - share) * seconds
    enough = [one for one in (1, 4, 16) if 1e3 / one * later > needed_items(space, later, 64)]
    assert choice.options == Width(width=width) == Width(width=enough[-1])
    assert list(choice.rates) == ["first", "second"]
    assert choice.rates["second"] <= 1e3 / width
    mean = share * choice.rates["first"] + (1 - share) * choice.rates["second"]
    assert choice.items_per_second == pytest.approx(mean)


@pytest.mark.parametrize(("examples", "width"), [(8, 16), (10_000, 32)])
def test_few_texts_get_a_small_network_however_long_it_trains(examples: int, width: int) -> None:
    model = plugins.model_for("autoregressive", TokenSequence)
    space = TokenSequence(5, context=32, start=3, end=4)
    choice = Probe(
        build=lambda options: model(space, {}, options),
        sample=lambda count: Batch(torch.randint(0, 3, (count, 32))),
        items=examples,
        seconds=1e15,
        options=TrainOptions(precision="fp32"),
        processes=1,
        device=torch.device("cpu"),
    ).choose(model.Options(layers=1, ngram_order=0), [{"width": 16}, {"width": 32}])
    assert choice.options.model_dump()["width"] == width


class Storing(TwoParts):
    """Keeps a thousand numbers of each item until the gradient is computed."""

    def forward(self, batch: Batch, phase: str = "first"):  # type: ignore[no-untyped-def]
        loss = super().forward(batch, phase)
        wide = self.first(batch.x).sum(1, keepdim=True).expand(-1, 1000).exp()
        return loss._replace(total=loss.total + 0 * wide.sum())


def test_a_batch_beyond_the_memory_is_refused_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0

    def sample(count: int) -> Batch:
        nonlocal largest
        largest = max(largest, count)
        return Batch(ITEMS[torch.arange(count) % len(ITEMS)])

    def choose(**options: object) -> int:
        return Probe(
            build=lambda _: Storing((Phase("first", "first"),)),
            sample=sample,
            items=10**6,
            seconds=None,
            options=TrainOptions(precision="fp32", **options),  # type: ignore[arg-type]
            processes=1,
            device=torch.device("cpu"),
        ).choose(Nothing(), [])[1]

    assert choose(batch=4096) == 4096
    assert choose() == 128
    monkeypatch.setattr("morphogen.training.speed.memory_left", lambda: 4000 * 3000)  # of three thousand items
    largest = 0
    with pytest.raises(UserError, match=r"a batch of 4,096 needs about .* GiB of memory, and .*; lower --train.batch"):
        choose(batch=4096)
    assert largest <= 64
    assert choose(batch=4096, grad_accumulation=4) == 4096
    monkeypatch.setattr("morphogen.training.speed.memory_left", lambda: 4000 * 50)
    assert choose() == 32, "without one that is asked for, the batch is what memory allows"
