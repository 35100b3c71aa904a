"""What holds for every generated task."""

import numpy as np
import pytest

from hopfield_attn.data.batches import make_batches
from hopfield_attn.data.brackets import BracketsTask
from hopfield_attn.data.induction import InductionTask
from hopfield_attn.data.match import MatchTask
from hopfield_attn.data.recall import RecallTask
from hopfield_attn.data.retrieval import RetrievalTask
from hopfield_attn.data.synthetic import SyntheticTask, synthetic_examples
from hopfield_attn.data.synthetic_tasks import SYNTHETIC_TASKS, make_synthetic_task
from tests.data.synthetic_oracles import accuracy_of, draw

RETRIEVAL = {"num_patterns": 3, "pattern_length": 4, "num_symbols": 6, "noise_rate": 0.3}
TASKS = [
    RecallTask(num_pairs=4, num_keys=20, num_values=20, num_queries=3),
    InductionTask(context_length=9, num_symbols=12, num_queries=2),
    MatchTask(order=2, num_tokens=12, modulus=16),
    MatchTask(order=3, num_tokens=7, modulus=22),
    RetrievalTask(**RETRIEVAL, answer="symbols"),
    RetrievalTask(**RETRIEVAL, answer="pattern"),
    BracketsTask(num_pairs=8, num_types=5, max_depth=4, answer="type"),
    BracketsTask(num_pairs=8, num_types=5, max_depth=4, answer="position"),
]
each_task = pytest.mark.parametrize(
    "task", TASKS, ids=lambda task: f"{type(task).__name__}-{getattr(task, 'answer', '')}"
)


@each_task
def test_arrays_have_the_shapes_and_ids_that_the_task_says(task):
    assert isinstance(task, SyntheticTask)
    batch = make_batches(synthetic_examples(task, num_examples=9, seed=0), batch_size=4, seed=0)[2]
    q, n = batch["positions"].shape[1], task.length
    assert {name: (array.shape, array.dtype) for name, array in batch.items()} == {
        "tokens": ((4, n), np.int32),
        "mask": ((4, n), np.bool_),
        "token_types": ((4, n), np.int32),
        "positions": ((4, q), np.int32),
        "labels": ((4, q), np.int32),
        "sources": ((4, q, n), np.bool_),
    }
    rows = draw(task, 50)
    assert rows["mask"].all()
    assert 0 <= rows["tokens"].min() <= rows["tokens"].max() < task.vocab_size
    assert 0 <= rows["labels"].min() <= rows["labels"].max() < task.num_outputs
    # A query is not its own source.
    own = np.take_along_axis(rows["sources"], rows["positions"][..., None], axis=2)
    assert not own.any()


@each_task
def test_every_token_has_a_name_of_its_own(task):
    names = [task.token_name(k) for k in range(task.vocab_size)]
    assert names[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(set(names)) == task.vocab_size


@each_task
def test_example_depends_on_seed_and_index_only(task):
    few, many = (synthetic_examples(task, num_examples=n, seed=3) for n in (5, 300))
    for i in (4, 0, 2):
        assert all(np.array_equal(few[i][name], many[i][name]) for name in few[i])
    other = synthetic_examples(task, num_examples=300, seed=4)
    rows = {s[i]["tokens"].tobytes() for s in (many, other) for i in range(300)}
    assert len(rows) >= 599
    assert [len(few), few[-1]["tokens"].tolist()] == [5, few[4]["tokens"].tolist()]
    with pytest.raises(IndexError, match="below 5, got 5"):
        few[5]


@each_task
def test_chance_is_the_accuracy_of_the_best_fixed_answer_and_cheats_lie_above_it(task):
    rows = draw(task, 800)
    shares = np.bincount(rows["labels"].ravel(), minlength=task.num_outputs) / rows["labels"].size
    best = int(np.argmax(shares))
    found, error = accuracy_of(lambda tokens, positions: np.full(len(positions), best), rows)
    # The largest of several equal shares is found above them.
    assert found == pytest.approx(task.baselines["chance_accuracy"], abs=1.5 * error + 1e-9)
    ordered = list(task.baselines.values())
    assert list(task.baselines)[0] == "chance_accuracy"
    assert list(task.baselines)[-1] == "best_accuracy"
    assert 0 < ordered[0] == min(ordered)
    assert max(ordered) == ordered[-1] <= 1


@pytest.mark.parametrize(("num_examples", "seed"), [(0, 0), (5, -1)])
def test_impossible_source_is_an_error_with_its_numbers(num_examples, seed):
    with pytest.raises(ValueError, match=f"got {num_examples} and {seed}"):
        synthetic_examples(TASKS[0], num_examples=num_examples, seed=seed)


def test_task_is_made_from_its_own_part_of_the_difficulty():
    difficulty = {
        "num_pairs": 4,
        "num_keys": 9,
        "num_values": 3,
        "num_queries": 2,
        "context_length": 8,
        "num_symbols": 7,
        "num_tokens": 8,
        "modulus": 0,
        "num_patterns": 3,
        "pattern_length": 5,
        "noise_rate": 0.1,
        "num_types": 3,
        "max_depth": 3,
        "answer": "",
    }
    made = {name: make_synthetic_task(name, difficulty) for name in SYNTHETIC_TASKS}
    assert made["match2"] == MatchTask(order=2, num_tokens=8, modulus=11)
    assert made["match3"] == MatchTask(order=3, num_tokens=8, modulus=31)
    assert (made["retrieval"].answer, made["brackets"].answer) == ("symbols", "type")
    positions = make_synthetic_task("brackets", difficulty | {"answer": "position"})
    assert positions.num_outputs == 8
    with pytest.raises(ValueError, match="data.task must be one of .*'match3'.*got 'match4'"):
        make_synthetic_task("match4", difficulty)
