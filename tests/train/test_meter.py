"""The meter writes the metrics of the right steps, late, and times the steps only."""

import math

import pytest

from hopfield_attn.train import throughput
from hopfield_attn.train.meter import Meter
from hopfield_attn.train.throughput import StepWork

pytestmark = pytest.mark.core


class Recorder:
    """Stands for the log and for the progress bar."""

    def __init__(self):
        self.rows, self.shown, self.advanced, self.said = [], [], [], []

    def write(self, step, loss, **values):
        self.rows.append((step, loss, values))

    def say(self, text):
        self.said.append(text)

    def advance(self, step):
        self.advanced.append(step)

    def show(self, step, loss, speed):
        self.shown.append((step, loss, speed))


class OnDevice:
    """A number that counts how often it was fetched."""

    def __init__(self, value):
        self.value, self.num_fetched = value, 0

    def __float__(self):
        self.num_fetched += 1
        return float(self.value)


@pytest.fixture
def clock(monkeypatch):
    """``clock.now`` is what ``time.perf_counter`` says."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


@pytest.fixture
def recorder():
    return Recorder()


def make_meter(recorder, *, log_every=1, **options):
    return Meter(recorder, recorder, lambda step: step / 10, log_every=log_every, **options)


def work(num_tokens, model_flops=0):
    return StepWork(num_tokens, model_flops)


def metrics_of(step, **changes):
    return {"loss": OnDevice(float(step)), "grad_norm": OnDevice(step + 0.5)} | changes


@pytest.mark.usefixtures("no_typechecker")
class TestMeter:
    def test_values_belong_to_the_step_that_is_written(self, recorder):
        meter = make_meter(recorder, log_every=3)
        for step in range(1, 11):
            meter.record(step, metrics_of(step), work(1))
        meter.flush()
        assert [(step, loss) for step, loss, _ in recorder.rows] == [(3, 3.0), (6, 6.0), (9, 9.0)]
        for step, _, values in recorder.rows:
            assert values["grad_norm"] == step + 0.5
            # The update that makes step s uses the learning rate of count s - 1.
            assert values["learning_rate"] == (step - 1) / 10
        assert recorder.advanced == list(range(1, 11))
        assert [row[0] for row in recorder.shown] == [3, 6, 9]

    def test_the_last_step_is_written_whatever_its_number_is(self, recorder):
        meter = make_meter(recorder, log_every=3, last_step=8)
        for step in range(1, 9):
            meter.record(step, metrics_of(step), work(1))
        meter.flush()
        assert [row[0] for row in recorder.rows] == [3, 6, 8]

    def test_metrics_are_fetched_when_the_next_step_has_been_dispatched(self, recorder):
        meter = make_meter(recorder)
        meter.record(1, metrics_of(1), work(1))  # this one is waited for: it compiles
        second = metrics_of(2)
        meter.record(2, second, work(1))
        assert second["loss"].num_fetched == 0
        assert [row[0] for row in recorder.rows] == [1]
        meter.record(3, metrics_of(3), work(1))
        assert second["loss"].num_fetched == 1
        assert [row[0] for row in recorder.rows] == [1, 2]

    def test_steps_that_are_not_logged_are_never_fetched(self, recorder):
        meter = make_meter(recorder, log_every=2)
        all_metrics = [metrics_of(step) for step in range(1, 6)]
        for step, metrics in enumerate(all_metrics, start=1):
            meter.record(step, metrics, work(1))
        meter.flush()
        fetched = [metrics["grad_norm"].num_fetched for metrics in all_metrics]
        assert fetched == [0, 1, 0, 1, 0]

    def test_values_are_fetched_once_whoever_asks(self, recorder):
        meter = make_meter(recorder)
        meter.record(1, metrics_of(1), work(1))
        logged = metrics_of(2)
        meter.record(2, logged, work(1))
        for _ in range(2):  # a save, then an evaluation
            with meter.paused():
                pass
        meter.flush()
        assert [value.num_fetched for value in logged.values()] == [1, 1]

    def test_step_is_written_whether_it_is_due_or_not(self, recorder, clock):
        meter = make_meter(recorder, log_every=2)
        for step in range(1, 6):
            meter.record(step, metrics_of(step), work(100))
            clock.now += 0.5
            if step in (3, 4):
                meter.write_newest()
                with meter.paused():
                    clock.now += 1000
        meter.flush()
        # Step 4 was due as well: it is written once.
        assert [(step, loss) for step, loss, _ in recorder.rows] == [(2, 2.0), (3, 3.0), (4, 4.0)]
        # The clock does not see what was done meanwhile.
        assert recorder.rows[-1][2]["tokens_per_second"] == 200.0

    def test_too_many_skipped_steps_end_the_run_where_the_newest_is_written(self, recorder):
        meter = make_meter(recorder, max_skipped_steps=1)
        counts = {"skipped_steps": 1, "skipped_in_a_row": 1}
        meter.record(1, metrics_of(1, **counts), work(1))
        with pytest.raises(FloatingPointError, match="not finite since step 1"):
            meter.write_newest()

    def test_flush_writes_once(self, recorder):
        meter = make_meter(recorder)
        meter.flush()
        meter.record(1, metrics_of(1), work(1))
        meter.flush()
        meter.flush()
        assert [row[0] for row in recorder.rows] == [1]

    def test_skipped_steps_are_said_once_and_too_many_in_a_row_stop_the_run(self, recorder):
        meter = make_meter(recorder, max_skipped_steps=3)
        for step, in_a_row in ((1, 0), (2, 1), (3, 2), (4, 0)):
            bad = {"loss": OnDevice(math.nan)} if in_a_row else {}
            counts = {"skipped_steps": min(step - 1, 2), "skipped_in_a_row": in_a_row}
            meter.record(step, metrics_of(step, **bad, **counts), work(1))
        meter.flush()
        assert [line.split(" skipped")[0] for line in recorder.said] == [
            "step 2: 1 steps",
            "step 3: 2 steps",
        ]
        # Two batches without an update: the schedule is two behind.
        rates = [values["learning_rate"] for _, _, values in recorder.rows]
        assert rates == [0.0, 0.1, 0.1, 0.1]
        bad = {"loss": OnDevice(math.inf), "skipped_steps": 5, "skipped_in_a_row": 3}
        meter.record(7, metrics_of(7, **bad), work(1))
        words = (
            r"loss inf, grad_norm 7.5 at step 7: not finite since step 5\b.* of step 4 are saved"
        )
        with pytest.raises(FloatingPointError, match=words):
            meter.record(8, metrics_of(8), work(1))
        with pytest.raises(FloatingPointError, match=words), meter.paused():
            pytest.fail("an evaluation would begin here")

    def test_speed_is_tokens_over_seconds_without_compilation(self, recorder, clock):
        class Ready(OnDevice):
            """Is there half a second after the step before; the first step compiles for 50 s."""

            def __float__(self):
                clock.now = max(clock.now, 150 + 0.5 * self.value)
                return super().__float__()

        meter = make_meter(recorder, log_every=2)
        for step in range(1, 8):
            meter.record(step, {"loss": Ready(step)}, work(1000))
        speeds = [values["tokens_per_second"] for _, _, values in recorder.rows]
        assert speeds == [2000.0, 2000.0, 2000.0]
        assert meter.speeds["tokens_per_second"] == 2000.0
        assert meter.speeds["steps_per_second"] == 2.0

    def test_time_in_paused_is_left_out(self, recorder, clock):
        meter = make_meter(recorder, log_every=2)
        for step in range(1, 8):
            meter.record(step, metrics_of(step), work(300))
            clock.now += 0.25
            with meter.paused():
                clock.now += 1000
        speeds = [values["tokens_per_second"] for _, _, values in recorder.rows]
        assert speeds[1:] == [1200.0, 1200.0]

    def test_paused_writes_what_waits_first(self, recorder):
        meter = make_meter(recorder)
        meter.record(1, metrics_of(1), work(1))
        with meter.paused():
            assert [row[0] for row in recorder.rows] == [1]

    def test_no_speed_is_given_before_something_was_timed(self, recorder):
        meter = make_meter(recorder)
        assert meter.speeds == {"tokens_per_second": None}
        meter.record(1, metrics_of(1), work(5))
        meter.flush()
        assert meter.speeds == {"tokens_per_second": None}
        assert recorder.rows[0][2]["tokens_per_second"] == 0.0
