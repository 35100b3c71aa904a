"""Each task gives losses, predictions and metrics of what it is about."""

import random
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn.train.evaluate import evaluate
from hopfield_attn.train.tasks import make_task

WORDS = [
    stem + end for stem in ("walk", "sing", "read", "glow", "turn") for end in ("", "s", "ing")
]


def jax_batch(batch):
    return {name: jnp.asarray(column) for name, column in batch.items()}


@pytest.fixture(scope="module")
def glue_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue")
    rng = random.Random(0)

    def sentence():
        return " ".join(rng.choices(WORDS, k=6))

    tables = {
        "SST-2": ["sentence\tlabel"] + [f"{sentence()}\t{i % 3 > 0:d}" for i in range(30)],
        "STS-B": ["sentence1\tsentence2\tscore"]
        + [f"{sentence()}\t{sentence()}\t{5 * rng.random():.3f}" for _ in range(30)],
    }
    for name, lines in tables.items():
        (folder / name).mkdir()
        for split in ("train", "dev"):
            (folder / name / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def glue_config(make_config, folder, task, **changes):
    settings = {"task": "glue", "data.task": task, "data.dir": str(folder)}
    settings |= {"data.vocab_size": 270, "data.length": 16, "model.heads": "identity"}
    return make_config(settings | changes)


def test_glue_batches_of_similar_length_are_cut(make_config, glue_folder, tmp_path):
    changes = {"data.length": 64, "data.length_multiple": 8, "train.batch_size": 4}
    task = make_task(glue_config(make_config, glue_folder, "sst2", **changes), tmp_path)
    batch = task.batches[0]
    length = batch["tokens"].shape[1]
    assert length % 8 == 0
    assert length < 64
    assert np.any(batch["mask"][:, length - 8 :])
    assert {name: batch[name].shape for name in ("mask", "token_types", "labels")} == {
        "mask": (4, length),
        "token_types": (4, length),
        "labels": (4,),
    }


@pytest.fixture(scope="module")
def mlm(make_config, tmp_path_factory):
    """A masked-language task on a small text, its model, and the run folder."""
    folder = tmp_path_factory.mktemp("mlm")
    rng = random.Random(1)
    paragraphs = [" ".join(rng.choices(WORDS, k=300)) for _ in range(40)]
    (folder / "text.txt").write_text("\n\n".join(paragraphs))
    config = make_config(
        {
            "task": "mlm",
            "data.source": str(folder / "text.txt"),
            "data.vocab_size": 280,
            "data.length": 16,
            "data.validation_fraction": 0.2,
            "data.test_fraction": 0.2,
            "model.heads": "identity",
        }
    )
    task = make_task(config, folder)
    return task, task.blueprint.make_model(config.model.to_dict(), 0), folder


def logits_at_positions(model, batch):
    states = model(batch["tokens"], batch["mask"], batch["positions"])
    return np.asarray(states, np.float64)


def test_masked_language_loss_is_the_mean_over_the_masked_tokens(mlm):
    task, model, _ = mlm
    batch = jax_batch(task.batches[0])
    logits = logits_at_positions(model, batch)
    log_probabilities = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    labels, weights = np.asarray(batch["labels"]), np.asarray(batch["label_weights"])
    chosen = np.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]
    expected = -np.sum(chosen * weights) / np.sum(weights)
    assert float(task.blueprint.loss_fn(model, batch, None)) == pytest.approx(expected, rel=1e-5)


def test_masked_language_scores_weigh_every_masked_token_of_the_set_alike(mlm):
    task, model, _ = mlm
    rows = [task.evaluation_sets["test"][i] for i in range(len(task.evaluation_sets["test"]))]
    right, total, count = 0, 0.0, 0
    for row in rows:
        batch = {name: jnp.asarray(value)[None] for name, value in row.items()}
        logits = logits_at_positions(model, batch)[0]
        for k in np.flatnonzero(row["label_weights"]):
            label = row["labels"][k]
            right += int(np.argmax(logits[k]) == label)
            total += np.log(np.sum(np.exp(logits[k]))) - logits[k][label]
            count += 1
    scores = evaluate(
        task,
        "test",
        None,
        lambda _, batch: task.predict_fn(model, jax_batch(batch)),
        batch_size=15,
    )
    assert len(rows) % 15  # the last batch is filled up
    assert scores["accuracy"] == pytest.approx(right / count, abs=1e-6)
    assert scores["loss"] == pytest.approx(total / count, rel=1e-5)


def test_masked_language_baselines_are_what_counting_reaches_on_the_test_set(mlm):
    task, _, _ = mlm
    assert 0 < task.baselines["unigram_accuracy"] < 0.5
    # 15 words of about equal frequency; the other ids of the vocabulary never occur.
    assert 0.5 * np.log(15) < task.baselines["unigram_loss"] < np.log(280)
    assert task.watched_set == "validation"
    assert set(task.evaluation_sets) == {"validation", "test"}
    assert len(task.facts["corpus_sha256"]) == 64


def test_training_batches_are_masked_anew_and_evaluation_rows_are_not(mlm, make_config):
    task, _, folder = mlm
    assert not np.array_equal(task.batches[0]["positions"], task.batches[1]["positions"])
    first, again = (task.evaluation_sets["test"][0] for _ in range(2))
    assert np.array_equal(first["tokens"], again["tokens"])
    assert (folder / "tokenizer.json").is_file()


def test_glue_class_is_the_largest_logit_and_majority_is_the_commonest_label(
    glue_folder, make_config, tmp_path
):
    config = glue_config(make_config, glue_folder, "sst2")
    task = make_task(config, tmp_path)
    model = task.blueprint.make_model(config.model.to_dict(), 0)
    batch = jax_batch(task.batches[0])
    logits = model(batch["tokens"], batch["mask"], batch["token_types"])
    assert logits.shape == (8, 2)
    np.testing.assert_array_equal(
        task.predict_fn(model, batch)["predictions"], np.argmax(logits, axis=-1)
    )
    log_probabilities = np.asarray(logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True)))
    expected = -np.mean(log_probabilities[np.arange(8), np.asarray(batch["labels"])])
    assert float(task.blueprint.loss_fn(model, batch, None)) == pytest.approx(expected, rel=1e-5)
    assert task.baselines == {"majority_accuracy": 20 / 30}
    assert task.facts == {"num_train_examples": 30, "bad_rows": []}
    assert set(task.evaluation_sets) == {"dev"}
    outputs = {"predictions": np.array([0, 1, 1]), "labels": np.array([0, 1, 0])}
    assert task.score_fn(outputs) == {"accuracy": pytest.approx(2 / 3)}


def test_glue_score_is_regressed_and_reported_as_correlations(glue_folder, make_config, tmp_path):
    config = glue_config(make_config, glue_folder, "stsb")
    task = make_task(config, tmp_path)
    model = task.blueprint.make_model(config.model.to_dict(), 0)
    batch = jax_batch(task.batches[0])
    outputs = model(batch["tokens"], batch["mask"], batch["token_types"])
    assert outputs.shape == (8, 1)
    predictions = task.predict_fn(model, batch)["predictions"]
    np.testing.assert_array_equal(predictions, outputs[:, 0])
    error = float(np.mean((np.asarray(outputs[:, 0]) - np.asarray(batch["labels"])) ** 2))
    assert float(task.blueprint.loss_fn(model, batch, None)) == pytest.approx(error, rel=1e-5)
    ranks = {"predictions": np.array([1.0, 2.0, 9.0]), "labels": np.array([0.0, 0.5, 1.0])}
    scores = task.score_fn(ranks)
    assert scores.keys() == {"pearson", "spearman"}
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["pearson"] < 0.95
    assert task.main_metric == "pearson"
    assert task.baselines == {}


def test_bad_glue_rows_are_left_out_up_to_the_limit_and_recorded(
    glue_folder, make_config, tmp_path
):
    folder = tmp_path / "SST-2"
    shutil.copytree(glue_folder / "SST-2", folder)
    with (folder / "train.tsv").open("a", encoding="utf-8") as file:
        file.write("cut in two\n")
    task = make_task(
        glue_config(make_config, tmp_path, "sst2", **{"data.max_bad_rows": 1}), tmp_path
    )
    (line,) = task.facts["bad_rows"]
    assert "train.tsv:" in line and "expected 2 columns, got 1" in line
    with pytest.raises(ValueError, match="expected 2 columns, got 1"):
        make_task(glue_config(make_config, tmp_path, "sst2"), tmp_path)


def test_training_rows_can_be_limited_and_evaluation_rows_stay(glue_folder, make_config, tmp_path):
    task = make_task(
        glue_config(make_config, glue_folder, "sst2", **{"data.max_train_examples": 9}), tmp_path
    )
    assert task.facts == {"num_train_examples": 9, "bad_rows": []}
    assert len(task.evaluation_sets["dev"]) == 30


@pytest.mark.core
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data.dir": ""}, ValueError, r"data.dir must name the folder.*--config.data.dir=FOLDER"),
        ({"data.task": "sst-2"}, ValueError, "data.task must be one of .*did you mean 'sst2'"),
        ({"data.dir": "/no/such/folder"}, FileNotFoundError, "/no/such/folder does not exist"),
    ],
)
def test_glue_data_that_is_missing_is_named(changes, error, message, make_config, tmp_path):
    with pytest.raises(error, match=message):
        make_task(glue_config(make_config, "anywhere", "sst2", **changes), tmp_path)


@pytest.mark.core
def test_recall_sets_are_drawn_independently_for_every_seed(make_config, tmp_path):
    rows = []
    for seed in (0, 1, 2):
        changes = {"seed": seed, "data.num_pairs": 4, "data.num_keys": 30, "data.num_values": 20}
        task = make_task(make_config(changes), tmp_path)
        for name in ("validation", "test"):
            rows += [task.evaluation_sets[name][i]["tokens"].tobytes() for i in range(10)]
        rows += [row.tobytes() for step in range(8) for row in task.batches[step]["tokens"]]
    # 64 training rows and 20 evaluation rows a seed, all different.
    assert len(set(rows)) == len(rows) == 3 * 84
