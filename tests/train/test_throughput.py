"""Rates are what was done over the time it took, and a peak is never guessed."""

import jax
import numpy as np
import pytest

from configs.defaults import get_defaults
from hopfield_attn.train import throughput
from hopfield_attn.train.flops import step_flops
from hopfield_attn.train.throughput import (
    PEAK_FLOPS,
    StepWork,
    Throughput,
    peak_flops,
    peak_of_all_devices,
    work_counter,
)

pytestmark = pytest.mark.core


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 5.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


def stretch(meter, clock, *, num_steps, seconds):
    for _ in range(num_steps):
        meter.add(StepWork(num_tokens=100, model_flops=6000))
    clock.now += seconds
    return meter.take()


def test_rates_are_work_over_seconds_and_the_share_of_the_peak(clock):
    meter = Throughput(peak=48_000.0)
    meter.start()
    assert stretch(meter, clock, num_steps=8, seconds=2.0) == {
        "steps_per_second": 4.0,
        "tokens_per_second": 400.0,
        "model_flops_per_second": 24_000.0,
        "mfu": 0.5,
    }
    # The next stretch is counted from here.
    assert stretch(meter, clock, num_steps=1, seconds=0.5)["steps_per_second"] == 2.0


def test_without_a_peak_there_is_no_utilisation(clock):
    meter = Throughput()
    meter.start()
    rates = stretch(meter, clock, num_steps=1, seconds=1.0)
    assert rates.keys() == {"steps_per_second", "tokens_per_second", "model_flops_per_second"}


def test_typical_rates_are_medians_and_a_stretch_without_steps_is_none(clock):
    meter = Throughput(peak=600.0)
    meter.start()
    assert meter.typical == {"tokens_per_second": None}
    assert stretch(meter, clock, num_steps=0, seconds=3.0)["mfu"] == 0.0
    assert meter.typical == {"tokens_per_second": None}
    for seconds in (1.0, 100.0, 2.0):
        stretch(meter, clock, num_steps=1, seconds=seconds)
    assert meter.typical == {
        "steps_per_second": 0.5,
        "tokens_per_second": 50.0,
        "model_flops_per_second": 3000.0,
        "mfu": 5.0,
    }


def test_a_pause_is_left_out(clock):
    meter = Throughput()
    meter.start()
    with meter.paused():
        clock.now += 1000
    assert stretch(meter, clock, num_steps=2, seconds=1.0)["steps_per_second"] == 2.0


def test_a_setting_comes_before_the_table_and_an_unknown_device_has_no_peak():
    assert peak_flops("NVIDIA H100 80GB HBM3", setting=0.0) == 989e12
    assert peak_flops("NVIDIA H100 80GB HBM3", setting=5e14) == 5e14
    # A part of a GPU is not the whole.
    assert peak_flops("NVIDIA H100 80GB HBM3 MIG 1g.10gb", setting=0.0) is None
    with pytest.raises(ValueError, match=r"train.peak_flops must be >= 0; got -1"):
        peak_flops("cpu", setting=-1.0)
    # FLOP/s, not TFLOP/s.
    assert all(1e14 < peak < 1e15 for peak in PEAK_FLOPS.values())


def test_the_peak_is_that_of_all_devices():
    assert peak_of_all_devices(setting=0.0) is None
    assert peak_of_all_devices(setting=3.0) == 3.0 * jax.device_count()


def test_work_counts_every_sequence_of_an_example():
    config = get_defaults()
    config.train.batch_size = 4
    config.task = "quality"
    work_of = work_counter(config)
    plain = work_of({"mask": np.ones((4, 16), bool)})
    assert plain == StepWork(64, step_flops(config, length=16))
    choices = work_of({"mask": np.ones((4, 2, 5, 16), bool)})
    assert choices == StepWork(10 * 64, 10 * plain.model_flops)
    # Batches may differ in length.
    shorter = work_of({"mask": np.ones((4, 8), bool)})
    assert shorter == StepWork(32, step_flops(config, length=8))
