"""SuperGLUE, SQuAD, QuALITY and ContractNLI from their files to losses, predictions and scores."""

import json
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn.data.superglue_tasks import SUPERGLUE_TASKS
from hopfield_attn.models.registry import num_parameters
from hopfield_attn.train import compare
from hopfield_attn.train.dry_run import estimate_step
from hopfield_attn.train.evaluate import evaluate
from hopfield_attn.train.flops import step_flops
from hopfield_attn.train.loop import TrainedModel
from hopfield_attn.train.state import split_model
from hopfield_attn.train.tasks import make_model, make_task
from tests.train.blueprints import check_rows

STEMS = ("walk", "sing", "read", "glow", "turn")
WORDS = [stem + end for stem in STEMS for end in ("", "s", "ing")]
NUM_ROWS = 10


def superglue_row(task, k, rng):
    """Row k of a made-up task; its label depends on k alone."""
    words = rng.choices(WORDS, k=6)
    text, label = " ".join(words), bool(k % 3)
    place = len(words[0]) + 1
    span = {"start1": place, "end1": place + len(words[1]), "start2": 0, "end2": len(words[0])}
    target = {
        "span1_index": 1,
        "span1_text": words[1],
        "span2_index": 4,
        "span2_text": words[4],
    }
    answers = [{"text": word, "label": i % 2} for i, word in enumerate(words[: 2 + k % 2])]
    entities = [
        {"start": 0, "end": len(words[0]) - 1},
        {"start": place, "end": place + len(words[1]) - 1},
    ]
    query = {"query": f"@placeholder {words[2]}", "answers": [{"text": words[0]}]}
    return {
        "boolq": {"question": words[0], "passage": text, "label": label},
        "cb": {"premise": text, "hypothesis": words[0], "label": ("neutral", "entailment")[label]},
        "copa": {
            "premise": text,
            "choice1": words[0],
            "choice2": words[1],
            "question": "cause",
            "label": int(label),
        },
        "multirc": {
            "passage": {"text": text, "questions": [{"question": "?", "answers": answers}]}
        },
        "record": {"passage": {"text": text, "entities": entities}, "qas": [query]},
        "rte": {"premise": text, "hypothesis": words[1], "label": "entailment"},
        "wic": {"sentence1": text, "sentence2": text, "label": label, **span},
        "wsc": {"text": text, "target": target, "label": label},
    }[task]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten rows of everything."""
    root = tmp_path_factory.mktemp("questions")
    rng = random.Random(0)

    def write(name, rows):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    for task, spec in SUPERGLUE_TASKS.items():
        for split in ("train", "val"):
            rows = [superglue_row(task, k, rng) for k in range(NUM_ROWS)]
            write(f"{spec.folder}/{split}.jsonl", rows)
    for split in ("train", "dev"):
        paragraphs, articles = [], []
        for k in range(NUM_ROWS):
            words = rng.choices(WORDS, k=20)
            answer = {"text": words[0], "answer_start": 0}
            entry = {"id": str(k), "question": " ".join(words[:2]), "answers": [answer]}
            unknown = {"id": "x", "question": "who?", "answers": [], "is_impossible": True}
            context = " ".join(words)
            paragraphs.append({"context": context, "qas": [entry, unknown][: 1 + k % 2]})
            asked = {
                "question": "what?",
                "options": words[:4],
                "gold_label": 1 + k % 4,
                "difficult": int(k < 3),
            }
            articles.append({"article": " ".join(words), "questions": [asked]})
        write(f"{split}-v2.0.json", [{"data": [{"paragraphs": paragraphs}]}])
        plain = [{**p, "qas": p["qas"][:1]} for p in paragraphs]
        write(f"{split}-v1.1.json", [{"data": [{"paragraphs": plain}]}])
        write(f"{split}.jsonl", articles)
        outputs = ("Not mentioned", "Entailment", "Contradiction", "Entailment")
        contracts = [
            {"input": f"{p['context'][:9]}\n\n{p['context']}", "output": outputs[k % 4]}
            for k, p in enumerate(paragraphs)
        ]
        write(f"contract_nli/{'validation' if split == 'dev' else split}.jsonl", contracts)
    return root


def settings(folder, task, **changes):
    base = {
        "task": task,
        "data.dir": str(folder),
        "data.vocab_size": 270,
        "data.length": 48 if task == "superglue" else 24,
        "data.stride": 8,
        "data.max_question_tokens": 8,
        "data.num_windows": 2,
        "model.heads": "identity",
        "model.pooling": "mean",
    }
    return base | changes


def jax_batch(batch):
    return {name: jnp.asarray(column) for name, column in batch.items()}


def predict_and_loss(task, config, batch):
    model = task.blueprint.make_model(config.model.to_dict(), 0)
    found = jax.jit(lambda b: (task.predict_fn(model, b), task.blueprint.loss_fn(model, b, None)))(
        batch
    )
    return found[0], float(found[1])


def cross_entropy(logits, labels):
    logits = np.asarray(logits, np.float64)
    log_sums = np.log(np.sum(np.exp(logits), axis=-1))
    return float(np.mean(log_sums - logits[np.arange(len(labels)), np.asarray(labels)]))


def scores_of(task, name, predict):
    """Scores of ``predict(batch)`` instead of a model, on a set whose last batch is filled up."""
    return evaluate(task, name, None, lambda _, batch: predict(batch), batch_size=7)


@pytest.mark.parametrize(
    ("task", "name"),
    [
        *(("superglue", name) for name in ("cb", "copa", "wic", "wsc", "record")),
        ("qa", "squad_v2"),
        ("quality", ""),
        ("scrolls", "contract_nli"),
    ],
)
def test_step_is_known_before_the_data(task, name, folder, make_config, tmp_path):
    config = make_config(settings(folder, task, **{"data.task": name}))
    made = make_task(config, tmp_path)
    check_rows(made)
    read: set[str] = set()

    class Recorded(dict):
        def __getitem__(self, key):
            read.add(key)
            return super().__getitem__(key)

    model = made.blueprint.make_model(config.model.to_dict(), 0)
    batch = Recorded(jax_batch(made.batches[0]))
    jax.eval_shape(lambda: made.blueprint.loss_fn(model, batch, None))
    assert read == made.blueprint.rows.keys()


def test_dry_run_counts_the_rows_of_all_windows_and_choices(folder, make_config):
    changes = {"data.dir": "/no/such/folder", "mesh.data": 1, "train.batch_size": 8}
    config = make_config(settings(folder, "quality", **changes))
    found = estimate_step(config)
    assert found.num_parameters == num_parameters(make_model(config))
    assert found.model_flops == 8 * step_flops(config, length=24)


@pytest.mark.parametrize("name", ["cb", "copa", "wic", "record"])
def test_superglue_loss_is_the_cross_entropy_of_its_logits(name, folder, make_config, tmp_path):
    config = make_config(settings(folder, "superglue", **{"data.task": name}))
    task = make_task(config, tmp_path)
    batch = jax_batch(task.batches[0])
    found, loss = predict_and_loss(task, config, batch)
    num_classes = 3 if name == "cb" else 2
    assert found["logits"].shape == (8, num_classes)
    np.testing.assert_array_equal(found["predictions"], np.argmax(found["logits"], axis=-1))
    assert loss == pytest.approx(cross_entropy(found["logits"], batch["labels"]), rel=1e-5)
    assert task.main_metric == SUPERGLUE_TASKS[name].metrics[0]
    assert task.facts["bad_rows"] == []
    assert task.facts["num_train_examples"] == NUM_ROWS


def test_superglue_labels_scored_against_themselves_are_all_right(folder, make_config, tmp_path):
    for name, spec in SUPERGLUE_TASKS.items():
        config = make_config(settings(folder, "superglue", **{"data.task": name}))
        task = make_task(config, tmp_path)

        def know(batch):
            labels = batch["labels"]
            return {"predictions": labels, "logits": np.stack([-labels, labels], axis=1)}

        assert scores_of(task, "val", know) == dict.fromkeys(spec.metrics, 1.0)
        if spec.kind != "candidates":
            wrong = scores_of(task, "val", lambda batch: {"predictions": batch["labels"] * 0 - 1})
            assert set(wrong.values()) == {0.0}
            assert 0.5 <= task.baselines["majority_accuracy"] <= 1


def test_multirc_is_scored_by_answer_and_by_question(folder, make_config, tmp_path):
    config = make_config(settings(folder, "superglue", **{"data.task": "multirc"}))
    task = make_task(config, tmp_path)
    # Questions have the labels (0, 1) and (0, 1, 0) in turn.
    assert task.facts["num_train_rows"] == 25
    scores = scores_of(
        task, "val", lambda batch: {"predictions": (batch["candidates"] > 0).astype(int)}
    )
    assert scores == {"f1a": pytest.approx(2 * 10 / (2 * 10 + 5)), "exact_match": 0.5}


def test_record_answers_with_the_likeliest_candidate_as_text(folder, make_config, tmp_path):
    config = make_config(settings(folder, "superglue", **{"data.task": "record"}))
    task = make_task(config, tmp_path)

    def prefer_second(batch):
        gain = batch["candidates"].astype(float)
        return {"logits": np.stack([-gain, gain + 1], axis=1)}

    rows = task.evaluation_sets["val"].arrays
    numbers = np.bincount(rows["groups"])
    # A question whose two entities are one word has one candidate, the right one.
    assert scores_of(task, "val", prefer_second)["exact_match"] == np.mean(numbers == 1)


@pytest.mark.parametrize(("version", "num_questions"), [("squad", 10), ("squad_v2", 15)])
def test_squad_scores_the_best_span_of_the_windows(
    version, num_questions, folder, make_config, tmp_path
):
    config = make_config(settings(folder, "qa", **{"data.task": version}))
    task = make_task(config, tmp_path)
    windows = task.evaluation_sets["dev"].arrays
    assert set(windows["questions"]) == set(range(num_questions))
    assert len(windows["questions"]) > num_questions
    is_open = np.zeros(num_questions, bool)
    if version == "squad_v2":
        is_open[2::3] = True

    def know(batch):
        """The first word; [CLS] where the answer is in another window, or nowhere."""
        start, end = np.zeros((2, *batch["tokens"].shape))
        is_first = (batch["offsets"][:, :, 0] == 0) & (batch["offsets"][:, :, 1] > 0)
        has_answer = is_first.any(axis=1) & ~is_open[batch["questions"]]
        # The first token ends before the second word begins.
        words = [e["question"].split()[0] for p in paragraphs for e in p["qas"]]
        for i, question in enumerate(batch["questions"]):
            if has_answer[i]:
                start[i, np.argmax(is_first[i])] = 9
                end[i, np.argmax(batch["offsets"][i, :, 1] == len(words[question]))] = 9
            else:
                start[i, 0] = end[i, 0] = 9
        return {"start_logits": start, "end_logits": end}

    name = "dev-v2.0.json" if version == "squad_v2" else "dev-v1.1.json"
    paragraphs = json.loads((folder / name).read_text())["data"][0]["paragraphs"]
    assert scores_of(task, "dev", know) == {"f1": 1.0, "exact_match": 1.0}

    def say_nothing(batch):
        start = np.where(np.arange(24) == 0, 9.0, 0.0) + np.zeros((len(batch["tokens"]), 1))
        return {"start_logits": start, "end_logits": start}

    scores = scores_of(task, "dev", say_nothing)
    if version == "squad_v2":
        assert scores == {"f1": pytest.approx(1 / 3), "exact_match": pytest.approx(1 / 3)}
        config.data.null_threshold = 100.0
        cautious = make_task(config, tmp_path)
        assert scores_of(cautious, "dev", say_nothing)["exact_match"] < 1 / 3


def test_squad_loss_is_the_mean_over_both_ends(folder, make_config, tmp_path):
    config = make_config(settings(folder, "qa", **{"data.task": "squad"}))
    task = make_task(config, tmp_path)
    batch = jax_batch(task.batches[0])
    found, loss = predict_and_loss(task, config, batch)
    start = cross_entropy(found["start_logits"], batch["starts"])
    end = cross_entropy(found["end_logits"], batch["ends"])
    assert loss == pytest.approx((start + end) / 2, rel=1e-5)


def test_longest_answer_is_a_setting(folder, make_config, tmp_path):
    config = make_config(settings(folder, "qa", **{"data.task": "squad"}))

    def prefer_all(batch):
        is_context = batch["offsets"][:, :, 0] >= 0
        first = np.argmax(is_context, axis=1)[:, None] == np.arange(24)
        last = 23 - np.argmax(is_context[:, ::-1], axis=1)[:, None] == np.arange(24)
        return {"start_logits": 9.0 * first, "end_logits": 9.0 * last}

    scores = {}
    for number in (1, 24):
        config.data.max_answer_tokens = number
        scores[number] = scores_of(make_task(config, tmp_path), "dev", prefer_all)
    assert scores[1] != scores[24]
    config.data.max_answer_tokens = 0
    with pytest.raises(ValueError, match=r"data.max_answer_tokens must be >= 1; got 0"):
        make_task(config, tmp_path)


def test_quality_takes_the_best_window_of_each_choice(folder, make_config, tmp_path):
    config = make_config(settings(folder, "quality"))
    task = make_task(config, tmp_path)
    batch = jax_batch(task.batches[0])
    assert batch["tokens"].shape == (8, 4, 2, 24)
    assert batch["windows"].all()
    found, loss = predict_and_loss(task, config, batch)
    model = jax.jit(task.blueprint.make_model(config.model.to_dict(), 0))
    first, second = (
        np.asarray(model(*(batch[name][:, :, k] for name in ("tokens", "mask", "token_types"))))
        for k in range(2)
    )
    np.testing.assert_allclose(found["logits"], np.maximum(first, second), atol=1e-5)
    assert loss == pytest.approx(cross_entropy(found["logits"], batch["labels"]), rel=1e-5)
    assert task.baselines == {"chance_accuracy": 0.25, "majority_accuracy": 0.3}


def test_quality_reports_the_difficult_questions_too(folder, make_config, tmp_path):
    task = make_task(make_config(settings(folder, "quality")), tmp_path)

    def know_the_difficult(batch):
        right = batch["labels"]
        return {"predictions": np.where(batch["difficult"], right, (right + 1) % 4)}

    assert scores_of(task, "dev", know_the_difficult) == {
        "accuracy": pytest.approx(0.3),
        "difficult_accuracy": 1.0,
    }


def test_a_class_of_a_document_is_as_likely_as_in_its_best_window(folder, make_config, tmp_path):
    config = make_config(settings(folder, "scrolls", **{"data.task": "contract_nli"}))
    task = make_task(config, tmp_path)
    batch = jax_batch(task.batches[0])
    assert batch["tokens"].shape == (8, 2, 24)
    # A window that is filling counts for nothing.
    batch["windows"] = batch["windows"].at[0, 1].set(False)
    found, loss = predict_and_loss(task, config, batch)
    model = jax.jit(task.blueprint.make_model(config.model.to_dict(), 0))
    first, second = (
        np.asarray(model(*(batch[name][:, k] for name in ("tokens", "mask", "token_types"))))
        for k in range(2)
    )
    expected = np.maximum(first, second)
    expected[0] = first[0]
    np.testing.assert_allclose(found["logits"], expected, atol=1e-5)
    assert loss == pytest.approx(cross_entropy(expected, batch["labels"]), rel=1e-5)
    scores = scores_of(task, "validation", lambda rows: {"predictions": rows["labels"]})
    assert scores == {"accuracy": 1.0, "macro_f1": 1.0}
    assert task.baselines == {"majority_accuracy": 0.5}


def test_energies_are_those_of_the_sequences_of_an_example(
    folder, make_config, tmp_path, monkeypatch
):
    config = make_config(settings(folder, "quality", **{"data.num_windows": 20}))
    task = make_task(config, tmp_path)
    definition, params = split_model(task.blueprint.make_model(config.model.to_dict(), 0))
    result = {"evaluations": {"dev": {"accuracy": 0.5}}, "main_metric": "accuracy"}
    trained = TrainedModel(definition, params, result, 1)
    seen = {}
    monkeypatch.setattr(compare, "head_energies", lambda encoder, **rows: seen.update(rows) or [])
    monkeypatch.setattr(compare, "draw_comparison", lambda path, **arguments: path.touch())
    monkeypatch.setattr(compare, "read_metrics", lambda folder: [])
    compare.compare_runs(tmp_path, tmp_path, task, {"first": trained, "second": trained})
    arrays = task.evaluation_sets["dev"].arrays
    # Windows that are filling have a mask, too.
    is_real = arrays["windows"].reshape(-1)[:32]
    assert 0 < is_real.sum() < 32 and arrays["mask"].any(axis=-1).all()
    assert seen.keys() == {"tokens", "mask", "token_types"}
    for name, rows in seen.items():
        np.testing.assert_array_equal(rows, arrays[name].reshape(-1, 24)[:32][is_real])


@pytest.mark.core
@pytest.mark.parametrize(
    ("task", "changes", "error", "message"),
    [
        ("superglue", {"data.task": "sst2"}, ValueError, "data.task must be one of 'boolq', "),
        ("superglue", {"data.task": "cb", "data.dir": ""}, ValueError, r"task folders \(BoolQ, CB"),
        ("qa", {"data.task": "squad", "data.dir": ""}, ValueError, "train-v1.1.json and dev-v1"),
        ("qa", {"data.task": "sst2"}, ValueError, "data.task must be one of 'squad', 'squad_v2'"),
        (
            "quality",
            {"data.dir": ""},
            ValueError,
            "QuALITY.VERSION.dev, or hub:.*; .*--config.data.dir=FOLDER",
        ),
        ("scrolls", {"data.task": "qasper"}, ValueError, "data.task must be one of 'contract_nli'"),
        ("quality", {"data.dir": "/no/such"}, FileNotFoundError, "/no/such does not exist"),
    ],
)
def test_data_that_is_missing_is_named(task, changes, error, message, make_config, tmp_path):
    with pytest.raises(error, match=message):
        make_task(make_config(settings("anywhere", task, **changes)), tmp_path)


def test_bad_rows_are_counted_up_to_the_limit_and_training_rows_limited(
    folder, make_config, tmp_path
):
    root = tmp_path / "data"
    (root / "CB").mkdir(parents=True)
    lines = (folder / "CB" / "train.jsonl").read_text()
    (root / "CB" / "train.jsonl").write_text(lines + "{}\n")
    (root / "CB" / "val.jsonl").write_text("{}\n" + lines)
    changes = {"data.task": "cb", "data.max_train_examples": 8}
    config = make_config(settings(root, "superglue", **changes))
    with pytest.raises(ValueError, match=r"train.jsonl:11 column premise: missing"):
        make_task(config, tmp_path)
    config.data.max_bad_rows = 1
    facts = make_task(config, tmp_path).facts
    assert [line.split(" ")[0].rpartition("/")[2] for line in facts["bad_rows"]] == [
        "train.jsonl:11",
        "val.jsonl:1",
    ]
    assert (facts["num_train_examples"], facts["num_held_out_examples"]) == (8, 10)
