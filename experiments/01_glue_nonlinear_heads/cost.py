"""Times a training step of every model of this experiment, in turn, on a quiet machine.

python experiments/01_glue_nonlinear_heads/cost.py

Random parameters and tokens: the values don't change the time.
"""

import statistics
import time

import jax
import numpy as np
from collect import ARMS, LINEAR, RESULTS

from configs import finetune
from hopfield_attn.benchmark.machine import describe_machine, title_of
from hopfield_attn.files import write_json
from hopfield_attn.models.registry import make_classifier
from hopfield_attn.train.optimizer import make_optimizer
from hopfield_attn.train.state import init_state, split_model
from hopfield_attn.train.step import make_train_step
from hopfield_attn.train.tasks.class_logits import make_class_loss, row_logits

BATCH_SIZE, LENGTH, VOCAB_SIZE, NUM_ROUNDS = 32, 64, 30_522, 7


class Trainer:
    """A model with its compiled training step."""

    def __init__(self, arm: str):
        """``arm`` is a row of the tables: heads, coupling."""
        config = finetune.get_config("task=stsb")
        config.model.heads, _, coupling = arm.partition(", ")
        config.model.coupling = coupling or "pooled"
        settings = config.model.to_dict()
        model = make_classifier(
            settings, vocab_size=VOCAB_SIZE, max_length=LENGTH, num_outputs=2, seed=0
        )
        definition, params = split_model(model)
        optimizer = make_optimizer(config.optimizer.to_dict(), num_steps=1000)
        self.state = init_state(params, optimizer)
        self.step = make_train_step(definition, make_class_loss(row_logits), optimizer)

    def seconds(self, batch: dict[str, np.ndarray]) -> float:
        """Wall time of one step."""
        began = time.perf_counter()
        self.state, _ = jax.block_until_ready(self.step(self.state, batch))
        return time.perf_counter() - began


def make_batch() -> dict[str, np.ndarray]:
    """Rows of random length, half to whole."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(LENGTH // 2, LENGTH + 1, BATCH_SIZE)
    return {
        "tokens": rng.integers(1000, VOCAB_SIZE, (BATCH_SIZE, LENGTH), dtype=np.int32),
        "token_types": np.zeros((BATCH_SIZE, LENGTH), np.int32),
        "mask": np.arange(LENGTH) < lengths[:, None],
        "labels": rng.integers(0, 2, BATCH_SIZE, dtype=np.int32),
    }


def main() -> None:
    batch = make_batch()
    trainers = {arm: Trainer(arm) for arm in ARMS}
    for trainer in trainers.values():
        trainer.seconds(batch)
    rounds = [{a: t.seconds(batch) for a, t in trainers.items()} for _ in range(NUM_ROUNDS)]
    medians = {arm: statistics.median(r[arm] for r in rounds) for arm in ARMS}
    ratios = {arm: statistics.median(r[arm] / r[LINEAR] for r in rounds) for arm in ARMS}
    write_json(
        RESULTS / "cost.json",
        {
            "batch_size": BATCH_SIZE,
            "length": LENGTH,
            "num_rounds": NUM_ROUNDS,
            "machine": title_of(describe_machine()),
            "seconds": medians,
            "ratios": ratios,
        },
    )


if __name__ == "__main__":
    main()
