"""Speed against a clock that the test moves."""

import pytest
import torch

from unrolled.train.callbacks import speed as speed_module
from unrolled.train.callbacks.speed import Speed, Window
from unrolled.train.memory import peak_memory_mb, reset_peak_memory


class Clock:
    """Stands in for the time module; stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(speed_module, "time", made)
    return made


def test_rates_follow_from_counts_and_seconds() -> None:
    window = Window(began=10.0, steps=4, tokens=300, waited=0.5, ended=12.0)
    assert window.rates() == {
        "speed/tokens_per_second": 150.0,
        "speed/ms_per_step": 500.0,
        "speed/data_wait_share": 0.25,
    }


def test_speed_counts_real_tokens_and_leaves_out_the_first_steps(tiny, batches, make_trainer, events, clock) -> None:
    """The first three steps take 300 ms each, the steps counted 10 ms; a batch has 11 tokens."""
    tiny.before_step = lambda step: clock.move(0.3 if step < 3 else 0.01)
    speed = Speed(skip_steps=3)
    make_trainer([speed], max_epochs=1).fit(tiny, batches(11))
    result = speed.result()
    assert result["measured_steps"] == 8
    assert result["ms_per_step"] == pytest.approx(10)
    assert result["tokens_per_second"] == pytest.approx(11 / 0.01)
    assert result["peak_memory_mb"] > 1
    read = events()
    for name in ("tokens_per_second", "ms_per_step", "data_wait_share", "peak_memory_mb"):
        assert read.Scalars(f"speed/{name}"), name
    assert [event.step for event in read.Scalars("speed/ms_per_step")][:2] == [3, 5]  # as train/loss has them
    assert {3, 5} <= {event.step for event in read.Scalars("train/loss")}


def test_waiting_for_data_is_told_apart(tiny, batches, make_trainer, clock) -> None:
    loader = batches(8)
    loader.collate_fn = lambda batch: (clock.move(0.03), batch)[1]
    tiny.before_step = lambda step: clock.move(0.01)
    speed = Speed(skip_steps=2)
    make_trainer([speed], max_epochs=1).fit(tiny, loader)
    assert speed.result()["data_wait_share"] == pytest.approx(0.75, abs=0.05)  # Lightning fetches one batch ahead


def test_validation_belongs_to_no_window(tiny, batches, make_trainer, clock) -> None:
    slow = batches(3)
    slow.collate_fn = lambda batch: (clock.move(100.0), batch)[1]
    tiny.before_step = lambda step: clock.move(0.01)
    speed = Speed(skip_steps=1)
    make_trainer([speed], max_epochs=3, val_check_interval=3).fit(tiny, batches(6), slow)
    assert speed.result()["measured_steps"] == 17
    assert speed.result()["ms_per_step"] == pytest.approx(10)


def test_steps_are_optimizer_steps_where_gradients_accumulate(tiny, batches, make_trainer, clock) -> None:
    tiny.before_step = lambda step: clock.move(0.005)
    speed = Speed(skip_steps=1)
    make_trainer([speed], max_epochs=1, accumulate_grad_batches=3).fit(tiny, batches(15))
    result = speed.result()
    assert result["measured_steps"] == 4
    assert result["ms_per_step"] == pytest.approx(15)
    assert result["tokens_per_second"] == pytest.approx(3 * 11 / 0.015)


def test_a_run_too_short_to_measure_says_so(tiny, batches, make_trainer) -> None:
    speed = Speed(skip_steps=50)
    make_trainer([speed], max_epochs=1).fit(tiny, batches(4))
    assert speed.result()["tokens_per_second"] is None
    assert speed.result()["measured_steps"] == 0


def test_peak_memory_sees_a_buffer_that_is_gone_again() -> None:
    cpu = torch.device("cpu")
    reset_peak_memory(cpu)
    before = peak_memory_mb(cpu)
    buffer = torch.ones(50 * 2**20, dtype=torch.uint8)  # 50 MiB
    del buffer
    assert peak_memory_mb(cpu) >= before + 40


def test_speed_of_a_resumed_run_is_over_all_its_sessions(tiny, batches, make_trainer) -> None:
    speed, later = Speed(skip_steps=0), Speed(skip_steps=0)
    make_trainer([speed], max_epochs=1).fit(tiny, batches(4))
    later.load_state_dict(speed.state_dict())
    make_trainer([later], max_epochs=1).fit(tiny, batches(6))
    assert later.result()["measured_steps"] == speed.result()["measured_steps"] + 6
    assert later.result()["peak_memory_mb"] >= speed.result()["peak_memory_mb"]
