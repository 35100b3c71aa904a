import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn.data.source import ArraySource
from hopfield_attn.train.evaluate import evaluate
from hopfield_attn.train.state import split_model
from hopfield_attn.train.step import make_predict_step
from hopfield_attn.train.tasks import Blueprint, Task, make_task

pytestmark = pytest.mark.core


def make_source(num_examples: int) -> ArraySource:
    rng = np.random.default_rng(num_examples)
    return ArraySource(
        {
            "x": rng.normal(size=(num_examples, 3)).astype(np.float32),
            "labels": rng.integers(4, size=num_examples).astype(np.int32),
        }
    )


def make_recording_task(source: ArraySource) -> tuple[Task, dict]:
    """A task whose metrics are means over what the scorer was given, which is recorded."""
    seen: dict = {}

    def score(outputs):
        seen.update(outputs)
        return {"mean": float(np.mean(outputs["predictions"] - outputs["labels"]))}

    task = Task(
        batches=None,
        evaluation_sets={"validation": source, "other": make_source(2)},
        watched_set="validation",
        blueprint=Blueprint(lambda config, seed: None, lambda model, batch, rngs: None, {}),
        predict_fn=lambda model, batch: {},
        score_fn=score,
        main_metric="mean",
        baselines={},
        facts={},
    )
    return task, seen


def predict(params, batch):
    assert "example_weights" not in batch
    return {"predictions": batch["x"] @ params}


@pytest.mark.parametrize("batch_size", [1, 4, 5, 7, 20])
@pytest.mark.parametrize("num_examples", [1, 7, 10])
def test_every_example_counts_once_whatever_the_batch_size(num_examples, batch_size):
    source = make_source(num_examples)
    task, seen = make_recording_task(source)
    params = np.array([1.0, -2.0, 0.5])
    scores = evaluate(task, "validation", params, predict, batch_size=batch_size)
    x, labels = source.arrays["x"], source.arrays["labels"]
    np.testing.assert_array_equal(seen["labels"], labels)
    np.testing.assert_array_equal(seen["x"], x)
    np.testing.assert_allclose(seen["predictions"], x @ params, rtol=1e-6)
    assert scores["mean"] == pytest.approx(np.mean(x @ params - labels), rel=1e-6)


def test_batches_have_one_shape_so_that_one_program_serves_all():
    shapes = set()

    def record(params, batch):
        shapes.add(batch["x"].shape)
        return {"predictions": batch["labels"]}

    task, _ = make_recording_task(make_source(10))
    evaluate(task, "validation", np.zeros(3), record, batch_size=4)
    assert shapes == {(4, 3)}


def test_examples_with_outputs_that_are_not_finite_are_counted_and_said():
    arrays, lines = {k: a.copy() for k, a in make_source(10).arrays.items()}, []
    arrays["x"][[2, 7]] = [[np.nan, 0, 0], [0, np.inf, 0]]
    task, seen = make_recording_task(ArraySource(arrays))
    with np.errstate(invalid="ignore"):
        evaluate(task, "validation", np.ones(3), predict, batch_size=4, say=lines.append)
    assert lines == ["validation: the model's outputs are not finite for 2 of 10 examples"]
    assert len(seen["predictions"]) == 10


def test_what_only_the_encoder_reads_is_not_kept():
    rows = np.zeros((6, 5), np.int32)
    task, seen = make_recording_task(
        ArraySource(make_source(6).arrays | {"tokens": rows, "windows": rows})
    )
    evaluate(task, "validation", np.ones(3), predict, batch_size=4)
    assert seen.keys() == {"x", "labels", "predictions"}


def test_the_set_that_is_asked_for_is_scored():
    task, seen = make_recording_task(make_source(9))
    evaluate(task, "other", np.zeros(3), predict, batch_size=4)
    assert len(seen["labels"]) == 2


def test_accuracy_of_a_model_is_that_of_its_predictions_one_by_one(make_config, tmp_path):
    config = make_config()
    task = make_task(config, tmp_path)
    model = task.blueprint.make_model(config.model.to_dict(), 0)
    definition, params = split_model(model)
    predict_step = make_predict_step(definition, task.predict_fn)
    source = task.evaluation_sets["test"]
    right = 0
    for i in range(len(source)):
        batch = {name: jnp.asarray(value)[None] for name, value in source[i].items()}
        inputs = (batch[name] for name in ("tokens", "mask", "token_types", "positions"))
        right += int(jnp.argmax(model(*inputs)) == batch["labels"][0, 0])
    for batch_size in (8, 64):
        scores = evaluate(task, "test", params, predict_step, batch_size=batch_size)
        assert scores == {"accuracy": right / len(source)}
    assert 0 < right < len(source)
