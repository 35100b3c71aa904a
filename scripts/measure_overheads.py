"""Measures what the safety of a run costs, each part against the same without it, in turns.

  python scripts/measure_overheads.py            # measures (half an hour), then writes the table
  python scripts/measure_overheads.py --table    # the table only, from the last measurement
  python scripts/measure_overheads.py --smoke    # tiny sizes, to see that it runs; writes nothing

A masked-language model on random tokens: the training step with and without the guard against
losses that are not finite; the loop that logs every step, and every 100; a look at the energies of
the heads beside a training step. And saves of random arrays with and without checksums, into a
temporary folder. A ratio is the median over the rounds of the ratio in a round.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from rich.console import Console  # noqa: E402

from configs.defaults import get_defaults  # noqa: E402
from hopfield_attn.files import replace_generated, write_json, write_text  # noqa: E402
from hopfield_attn.train import checkpoint  # noqa: E402
from hopfield_attn.train.energies import energy_metrics, make_energy_step  # noqa: E402
from hopfield_attn.train.logging import MetricsLog, ProgressLog, Reporter  # noqa: E402
from hopfield_attn.train.meter import Meter  # noqa: E402
from hopfield_attn.train.optimizer import learning_rates, make_optimizer  # noqa: E402
from hopfield_attn.train.run_folder import versions  # noqa: E402
from hopfield_attn.train.state import init_state, split_model  # noqa: E402
from hopfield_attn.train.step import make_train_step  # noqa: E402
from hopfield_attn.train.tasks import make_blueprint  # noqa: E402
from hopfield_attn.train.throughput import work_counter  # noqa: E402

DOCS = ROOT / "docs" / "training.md"
RESULTS = ROOT / "docs" / "overheads.json"
NOT_MEASURED = "Not measured yet: `python scripts/measure_overheads.py` writes this table."


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    num_layers: int = 2
    width: int = 128
    length: int = 64
    vocab_size: int = 2048
    batch_size: int = 32
    steps: int = 200  # a round
    rounds: int = 9
    mib: int = 256  # of a checkpoint
    save_rounds: int = 5


SMOKE = Sizes(
    num_layers=1,
    width=16,
    length=8,
    vocab_size=64,
    batch_size=2,
    steps=2,
    rounds=1,
    mib=1,
    save_rounds=1,
)


class Trainer:
    """A model with its compiled steps, and a state for each of them: updates donate it."""

    def __init__(self, sizes):
        self.config = config = get_defaults()
        config.model.update(num_layers=sizes.num_layers, heads="identity:2,quadratic:2")
        config.model.update(width=sizes.width, mlp_width=4 * sizes.width)
        config.model.alpha_init = 0.1
        config.data.update(length=sizes.length, vocab_size=sizes.vocab_size)
        config.train.update(batch_size=sizes.batch_size, num_steps=10**6)
        blueprint = make_blueprint(config)
        self.batch = random_batch(blueprint.rows, config)
        model = blueprint.make_model(config.model.to_dict(), config.seed)
        self.definition, self.params = split_model(model)
        optimizer = make_optimizer(config.optimizer.to_dict(), num_steps=config.train.num_steps)
        self.steps = {
            limit: make_train_step(
                self.definition, blueprint.loss_fn, optimizer, max_skipped_steps=limit
            )
            for limit in (None, config.train.max_skipped_steps)
        }
        self.states = {limit: init_state(self.params, optimizer) for limit in self.steps}

    def advance(self, limit):
        self.states[limit], metrics = self.steps[limit](self.states[limit], self.batch)
        return metrics

    def seconds_of_steps(self, limit, num_steps):
        began = time.perf_counter()
        for _ in range(num_steps):
            metrics = self.advance(limit)
        jax.block_until_ready((metrics, self.states[limit]))
        return (time.perf_counter() - began) / num_steps

    def seconds_of_logged_steps(self, log_every, num_steps):
        """Of a step of the loop: the meter, metrics.jsonl, and the lines for a console."""
        limit, settings = self.config.train.max_skipped_steps, self.config.optimizer.to_dict()
        rates = learning_rates(settings, num_steps=num_steps)
        work = work_counter(self.config)(self.batch)
        reporter = Reporter("overheads", Console(file=io.StringIO()))
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            log = stack.enter_context(MetricsLog(Path(folder), start_step=0))
            progress = ProgressLog(reporter, num_steps=num_steps, start_step=0)
            stack.enter_context(progress)
            meter = Meter(log, progress, rates.__getitem__, log_every=log_every)
            began = time.perf_counter()
            for done in range(1, num_steps + 1):
                meter.record(done, self.advance(limit), work)
            meter.flush()
            jax.block_until_ready(self.states[limit])
            return (time.perf_counter() - began) / num_steps

    def seconds_of_energies(self):
        if not hasattr(self, "energy_step"):
            self.energy_step = make_energy_step(self.definition)
        rows = {name: self.batch[name] for name in ("tokens", "mask")}
        began = time.perf_counter()
        found = self.energy_step(self.params, rows)
        energy_metrics(jax.device_get(found), np.ones(len(rows["mask"]), bool))
        return time.perf_counter() - began


def random_batch(rows, config):
    rng = np.random.default_rng(0)
    shapes = {name: (config.train.batch_size, *row.shape) for name, row in rows.items()}
    limits = {"tokens": config.data.vocab_size, "labels": config.data.vocab_size}
    limits["positions"] = config.data.length
    batch = {name: rng.integers(limit, size=shapes[name]) for name, limit in limits.items()}
    batch |= {name: np.ones(shapes[name]) for name in rows if name not in limits}
    return {name: batch[name].astype(row.dtype) for name, row in rows.items()}


def seconds_of_save(folder, state, step, *, with_checksums):
    """(until the save returns and training goes on, until it is written)."""
    state = dataclasses.replace(state, step=jnp.int32(step))
    without = mock.patch.object(checkpoint, "record_arrays", lambda tree: {})
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(checkpoint.Checkpoints(folder, keep=1))
        if not with_checksums:
            stack.enter_context(without)
        began = time.perf_counter()
        checkpoints.save(state)
        returned = time.perf_counter() - began
        checkpoints.finish()
        return returned, time.perf_counter() - began


def in_turns(with_it, without_it, *, rounds):
    """Pairs of what both return, after a round that warms up; who is first alternates."""
    pairs = []
    for k in range(rounds + 1):
        if k % 2:
            pairs.append((with_it(), without_it()))
        else:
            pairs.append((without_it(), with_it())[::-1])
    return pairs[1:]


def as_row(name, unit, pairs, *, scale):
    ratios = sorted(a / b for a, b in pairs)
    row = {
        "name": name,
        "unit": unit,
        "with": statistics.median(a for a, _ in pairs) * scale,
        "without": statistics.median(b for _, b in pairs) * scale,
        "ratio": statistics.median(ratios),
        "lowest": ratios[0],
        "highest": ratios[-1],
    }
    print(row, flush=True)
    return row


def measure_steps(sizes):
    trainer = Trainer(sizes)
    guarded = trainer.config.train.max_skipped_steps
    steps, rounds = sizes.steps, sizes.rounds

    def a_step():
        return trainer.seconds_of_steps(guarded, steps)

    guard = in_turns(a_step, lambda: trainer.seconds_of_steps(None, steps), rounds=rounds)
    logged = in_turns(
        lambda: trainer.seconds_of_logged_steps(1, steps),
        lambda: trainer.seconds_of_logged_steps(100, steps),
        rounds=rounds,
    )
    looks = in_turns(trainer.seconds_of_energies, a_step, rounds=rounds)
    return [
        as_row("guard against non-finite steps", "ms a step", guard, scale=1e3),
        as_row("logging every step, against every 100", "ms a step", logged, scale=1e3),
        as_row("a look at the energies, against a step", "ms", looks, scale=1e3),
    ]


def measure_saves(sizes):
    # Random, so that it cannot be compressed; in 16 arrays.
    arrays = jax.random.normal(jax.random.key(0), (16, sizes.mib * 2**14))
    params = {f"w{k}": array for k, array in enumerate(arrays)}
    state = init_state(params, optax.sgd(0.1))
    numbers = iter(range(1, 1000))
    with tempfile.TemporaryDirectory() as folder:

        def save(with_checksums):
            return seconds_of_save(
                Path(folder), state, next(numbers), with_checksums=with_checksums
            )

        pairs = in_turns(lambda: save(True), lambda: save(False), rounds=sizes.save_rounds)
    options = {"unit": "ms a MiB", "scale": 1e3 / sizes.mib}
    names = "checksums, until training goes on", "checksums, until the save is written"
    return [
        as_row(name, pairs=[(a[k], b[k]) for a, b in pairs], **options)
        for k, name in enumerate(names)
    ]


def measure(sizes):
    rows = measure_steps(sizes) + measure_saves(sizes)
    return {"sizes": dataclasses.asdict(sizes), "versions": versions(), "rows": rows}


def table():
    if not RESULTS.is_file():
        return NOT_MEASURED
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = ["| | with | without | ratio (lowest to highest) |", "| --- | --- | --- | --- |"]
    for row in found["rows"]:
        lines.append(
            f"| {row['name']} | {row['with']:.3g} {row['unit']} | {row['without']:.3g} "
            f"| {row['ratio']:.3f} ({row['lowest']:.3f} to {row['highest']:.3f}) |"
        )
    sizes, devices = found["sizes"], ", ".join(found["versions"]["devices"])
    lines += [
        "",
        f"On {devices}: {sizes['num_layers']} layers of width {sizes['width']}, "
        f"{sizes['length']} tokens, batch {sizes['batch_size']}, "
        f"{sizes['rounds']} rounds of {sizes['steps']} steps; "
        f"{sizes['save_rounds']} saves of {sizes['mib']} MiB: "
        "`python scripts/measure_overheads.py`.",
    ]
    return "\n".join(lines)


def main(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true", help="do not measure")
    parser.add_argument("--check", action="store_true", help="exit 1 if the table is stale")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes; writes nothing")
    options = parser.parse_args(arguments)
    if options.smoke:
        measure(SMOKE)
        return 0
    if not (options.table or options.check):
        write_json(RESULTS, measure(Sizes()))
    text = DOCS.read_text(encoding="utf-8")
    updated = replace_generated(text, "overheads", table())
    if options.check:
        return int(updated != text)
    write_text(DOCS, updated)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
