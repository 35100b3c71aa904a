import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn.data.glue import GLUE_TASKS, Example, read_glue
from hopfield_attn.data.glue_submission import SUBMISSION_FILES, submission_rows
from hopfield_attn.data.tokenizer import (
    CLS_ID,
    MASK_ID,
    SEP_ID,
    encode_texts,
    encode_with_offsets,
    train_tokenizer,
)
from hopfield_attn.data.tsv import read_table
from hopfield_attn.train import predict_files
from hopfield_attn.train.metrics import accuracy, pearson
from hopfield_attn.train.predict import _masked_row, fill_masks, make_example, predict_examples
from hopfield_attn.train.predict_files import predict_table, write_submission
from hopfield_attn.train.state import ModelDefinition
from hopfield_attn.train.trained import TrainedRun, load_run


@pytest.fixture(scope="session")
def classifier(sst2):
    return load_run(sst2.config, sst2.folder)


@pytest.fixture(scope="session")
def scorer(stsb):
    return load_run(stsb.config, stsb.folder)


@pytest.fixture(scope="session")
def language_model(mlm):
    return load_run(mlm.config, mlm.folder)


def test_likeliest_labels_are_the_predictions_that_the_result_scores(classifier, sst2):
    examples, _ = read_glue(sst2.config.data.dir, "sst2", "dev")
    probabilities = predict_examples(classifier, examples)
    assert probabilities.shape == (20, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    labels = np.array([example.label for example in examples])
    score = accuracy(probabilities.argmax(axis=1), labels)
    assert {"accuracy": score} == sst2.result["evaluations"]["dev"]
    # One by one is as all together.
    alone = np.concatenate([predict_examples(classifier, [e]) for e in examples[:3]])
    np.testing.assert_allclose(alone, probabilities[:3], rtol=1e-5)


def test_scores_are_those_that_the_result_scores(scorer, stsb):
    examples, _ = read_glue(stsb.config.data.dir, "stsb", "dev")
    scores = predict_examples(scorer, examples)
    assert scores.shape == (20, 1)
    labels = np.array([example.label for example in examples], np.float32)
    expected = stsb.result["evaluations"]["dev"]["pearson"]
    assert pearson(scores[:, 0], labels) == pytest.approx(expected, rel=1e-9)


def test_number_of_sentences_is_that_of_the_task():
    assert make_example(GLUE_TASKS["rte"], " a ", "b ") == Example("a", "b", None)
    with pytest.raises(ValueError, match="SST-2 takes one sentence; got two"):
        make_example(GLUE_TASKS["sst2"], "a", "b")
    with pytest.raises(ValueError, match="RTE takes two sentences; got one"):
        make_example(GLUE_TASKS["rte"], "a", None)


def test_masks_are_filled_with_what_the_model_finds_likeliest(language_model):
    first, second = fill_masks(language_model, "Walking [MASK] sings [MASK] rest.", num_guesses=4)
    # The same by hand, without padding.
    tokenizer = language_model.tokenizer
    pieces = encode_texts(tokenizer, ["Walking", "sings", "rest."])
    ids = [CLS_ID, *pieces[0], MASK_ID, *pieces[1], MASK_ID, *pieces[2], SEP_ID]
    positions = [i for i, token_id in enumerate(ids) if token_id == MASK_ID]
    model = language_model.definition.bind(language_model.params)
    logits = model(jnp.array([ids]), jnp.ones((1, len(ids)), bool), jnp.array([positions]))
    for guesses, row in zip((first, second), jax.nn.softmax(logits[0]), strict=True):
        assert len(guesses) == 4
        best = np.argsort(-row)[:4]
        np.testing.assert_allclose([g.probability for g in guesses], row[best], rtol=1e-4)
        assert guesses[0].token in (tokenizer.decode([best[0]]), tokenizer.id_to_token(best[0]))


def test_white_space_before_a_mask_belongs_to_its_token(language_model):
    alone = fill_masks(language_model, "[MASK]", num_guesses=1)
    assert fill_masks(language_model, "  [MASK] ", num_guesses=1) == alone
    joined = fill_masks(language_model, "walk[MASK] sing", num_guesses=3)
    assert fill_masks(language_model, "walk  [MASK]  sing", num_guesses=3) == joined
    # What follows at once is not another word.
    assert fill_masks(language_model, "walk [MASK]sing", num_guesses=3) != joined


@pytest.mark.core
def test_text_around_a_mask_has_the_tokens_that_it_has_around_a_token():
    text = "Walking, it's (zesty) rest."
    tokenizer = train_tokenizer([text] * 2, vocab_size=276)
    (whole,) = encode_with_offsets(tokenizer, [text])
    assert len(whole.ids) > 10
    for k, (start, end) in enumerate(whole.offsets):
        masked = f"{text[:start]}[MASK]{text[end:]}"
        row = _masked_row(tokenizer, masked, length=40)
        found = row["tokens"][row["mask"]].tolist()
        assert found == [CLS_ID, *whole.ids[:k], MASK_ID, *whole.ids[k + 1 :], SEP_ID], masked
        assert row["positions"].tolist() == [[k + 1]]


def test_text_that_has_no_mask_or_does_not_fit_is_refused(language_model, classifier):
    with pytest.raises(ValueError, match=r"must have a \[MASK\] for each token"):
        fill_masks(language_model, "no mask", num_guesses=5)
    with pytest.raises(
        ValueError, match="the text has 32 tokens with its frame; the model takes 24"
    ):
        fill_masks(language_model, "[MASK] " * 30, num_guesses=5)
    with pytest.raises(ValueError, match="fills"):
        fill_masks(classifier, "[MASK]", num_guesses=5)
    with pytest.raises(ValueError, match="labels sentences"):
        predict_examples(language_model, [Example("a", None, None)])


def test_table_keeps_its_rows_and_gets_the_predictions(classifier, tmp_path):
    source, target = tmp_path / "in.tsv", tmp_path / "out.tsv"
    source.write_text('id\ttext\n7\t walking "sings \n8\trest\n')
    assert predict_table(classifier, source, target) == 2
    columns, rows = read_table(target)
    labels = ["negative", "positive"]
    assert columns == ["id", "text", "prediction", *(f"probability_{name}" for name in labels)]
    assert [row[:2] for row in rows] == [["7", ' walking "sings '], ["8", "rest"]]
    examples = [Example('walking "sings', None, None), Example("rest", None, None)]
    probabilities = predict_examples(classifier, examples)
    assert [row[2] for row in rows] == [labels[k] for k in probabilities.argmax(axis=1)]
    found = np.array([[float(cell) for cell in row[3:]] for row in rows])
    np.testing.assert_allclose(found, probabilities, atol=1e-6)


def test_table_of_a_task_with_scores_has_one_more_column(scorer, stsb, glue_folder, tmp_path):
    target = tmp_path / "out.tsv"
    assert predict_table(scorer, glue_folder / "STS-B" / "test.tsv", target) == 7
    columns, rows = read_table(target)
    assert columns == ["index", "sentence1", "sentence2", "prediction"]
    scores = predict_examples(scorer, read_glue(glue_folder, "stsb", "test")[0])
    assert [row[-1] for row in rows] == [f"{score:.3f}" for score in scores[:, 0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id\tsentences\n1\ta\n", "expected a column 'text' or 'sentence'; got"),
        ("text\n", "there is no row below the header"),
        ("text\tprediction\na\tb\n", "the column 'prediction' is there already"),
    ],
)
def test_table_that_cannot_be_predicted_is_refused(text, words, classifier, tmp_path):
    source, target = tmp_path / "in.tsv", tmp_path / "out.tsv"
    source.write_text(text)
    with pytest.raises(ValueError, match=words):
        predict_table(classifier, source, target)
    assert not target.exists()
    source.write_text("text\na\n")
    with pytest.raises(FileNotFoundError, match="expected the folder"):
        predict_table(classifier, source, tmp_path / "no" / "out.tsv")
    with pytest.raises(FileExistsError, match="expected a file for the predictions"):
        predict_table(classifier, source, tmp_path)


def test_submission_has_the_test_split_as_the_leaderboard_wants_it(
    classifier, scorer, glue_folder, tmp_path
):
    assert write_submission(classifier, tmp_path / "a") == {tmp_path / "a" / "SST-2.tsv": 7}
    columns, rows = read_table(tmp_path / "a" / "SST-2.tsv")
    assert columns == ["index", "prediction"]
    assert [index for index, _ in rows] == [str(i) for i in range(7)]
    outputs = predict_examples(classifier, read_glue(glue_folder, "sst2", "test")[0])
    assert [prediction for _, prediction in rows] == [str(k) for k in outputs.argmax(axis=1)]
    write_submission(scorer, tmp_path / "a")
    _, rows = read_table(tmp_path / "a" / "STS-B.tsv")
    outputs = predict_examples(scorer, read_glue(glue_folder, "stsb", "test")[0])
    expected = [f"{score:.3f}" for score in outputs[:, 0].clip(0, 5)]
    assert [prediction for _, prediction in rows] == expected


def test_submission_of_mnli_is_two_files_and_one_of_the_diagnostic_set(
    make_config, tmp_path, monkeypatch
):
    (tmp_path / "MNLI").mkdir()
    for split, num_rows in (("matched", 2), ("mismatched", 3)):
        lines = ["index\tsentence1\tsentence2"] + [f"{i}\ta\tb" for i in range(num_rows)]
        (tmp_path / "MNLI" / f"test_{split}.tsv").write_text("\n".join(lines) + "\n")
    config = make_config({"task": "glue", "data.task": "mnli", "data.dir": str(tmp_path)})
    run = TrainedRun(config, None, ModelDefinition(None, {}), {}, 0)
    monkeypatch.setattr(
        predict_files, "predict_examples", lambda run, examples: np.eye(3)[: len(examples)][::-1]
    )
    written = write_submission(run, tmp_path / "out")
    assert {path.name: number for path, number in written.items()} == {
        "MNLI-m.tsv": 2,
        "MNLI-mm.tsv": 3,
    }
    _, rows = read_table(tmp_path / "out" / "MNLI-mm.tsv")
    assert [label for _, label in rows] == ["contradiction", "neutral", "entailment"]
    # The diagnostic set, where it is.
    (tmp_path / "diagnostic").mkdir()
    (tmp_path / "diagnostic" / "diagnostic.tsv").write_text(
        "index\tsentence1\tsentence2\n0\tone\ttwo\n1\tthree\tfour\n"
    )
    written = write_submission(run, tmp_path / "again")
    assert written[tmp_path / "again" / "AX.tsv"] == 2 and len(written) == 3
    assert read_table(tmp_path / "again" / "AX.tsv") == (
        ["index", "prediction"],
        [["0", "neutral"], ["1", "entailment"]],
    )
    # Also where the folder is written as in a shell.
    monkeypatch.setenv("HOME", str(tmp_path))
    config.data.dir = "~"
    assert write_submission(run, tmp_path / "home")[tmp_path / "home" / "AX.tsv"] == 2


@pytest.mark.core
def test_every_task_has_a_file_for_each_test_split():
    for name, task in GLUE_TASKS.items():
        assert list(SUBMISSION_FILES[name]) == [s for s in task.splits if s.startswith("test")]
    files = {file for files in SUBMISSION_FILES.values() for file in files.values()}
    assert files == {
        *("CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "STS-B.tsv", "QQP.tsv", "MNLI-m.tsv"),
        *("MNLI-mm.tsv", "QNLI.tsv", "RTE.tsv", "WNLI.tsv"),
    }


@pytest.mark.core
@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("cola", ["0", "1"]),
        ("sst2", ["0", "1"]),
        ("mrpc", ["0", "1"]),
        ("qqp", ["0", "1"]),
        ("wnli", ["0", "1"]),
        ("qnli", ["entailment", "not_entailment"]),
        ("rte", ["entailment", "not_entailment"]),
        ("mnli", ["entailment", "neutral", "contradiction"]),
    ],
)
def test_labels_are_spelled_as_the_leaderboard_does(name, labels):
    rows = submission_rows(GLUE_TASKS[name], np.eye(len(labels)))
    assert rows == [(str(i), label) for i, label in enumerate(labels)]


@pytest.mark.core
def test_scores_are_clipped_and_have_three_decimals():
    outputs = np.array([[-0.3], [5.2], [2.3456], [0.0]])
    rows = submission_rows(GLUE_TASKS["stsb"], outputs)
    assert [score for _, score in rows] == ["0.000", "5.000", "2.346", "0.000"]
    with pytest.raises(ValueError, match="outputs must have 1 columns; got 2"):
        submission_rows(GLUE_TASKS["stsb"], np.zeros((1, 2)))
