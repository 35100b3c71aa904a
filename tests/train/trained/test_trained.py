"""A run folder is enough: the model comes back, and says what it said when it was trained."""

import json
import logging
import shutil

import jax
import numpy as np
import pytest

from hopfield_attn.train.evaluate_run import evaluate_run
from hopfield_attn.train.state import split_model
from hopfield_attn.train.tasks import make_model
from hopfield_attn.train.trained import load_run, tokenizer_folder


@pytest.fixture(params=["sst2", "stsb", "mlm", "recall"])
def run(request):
    return request.getfixturevalue(request.param)


def test_evaluation_is_that_of_the_end_of_the_run_to_the_last_digit(run, caplog):
    found = evaluate_run(run.config, run.folder)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert found["evaluations"] == run.result["evaluations"]
    assert (found["step"], found["config_changes"]) == (3, {})
    assert found == json.loads((run.folder / "evaluation.json").read_text())


def test_parameters_are_the_trained_ones_and_no_data_is_needed(run, train):
    config = run.config.copy_and_resolve_references()
    config.data.dir = config.data.source = "/no/such/place"
    loaded = load_run(config, run.folder)
    trained = train(run.config, run.folder)  # finished: only what it saved is read
    jax.tree.map(np.testing.assert_array_equal, loaded.params, trained.params)
    _, initial = split_model(make_model(config))
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), loaded.params, initial)
    assert any(jax.tree.leaves(changed))


def test_chosen_sets_and_changed_keys_are_said(recall):
    config = recall.config.copy_and_resolve_references()
    config.model.num_steps = 5
    config.train.eval_batch_size = 7
    found = evaluate_run(config, recall.folder, sets=["test"])
    assert found["evaluations"].keys() == {"test"}
    assert found["config_changes"] == {"model.num_steps": 5, "train.eval_batch_size": 7}
    with pytest.raises(ValueError, match="evaluation set must be one of 'validation', 'test'"):
        evaluate_run(config, recall.folder, sets=["tset"])


def test_folder_of_a_live_run_is_left_as_it_is(recall, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(recall.folder, folder)
    unfinished = folder / "checkpoints" / "9.orbax-checkpoint-tmp-1"
    unfinished.mkdir()
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    assert load_run(recall.config, folder).step == 3
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before


def test_run_without_a_checkpoint_or_with_other_parameters_is_refused(recall, sst2, tmp_path):
    with pytest.raises(FileNotFoundError, match="has no checkpoint"):
        load_run(recall.config, tmp_path)
    config = recall.config.copy_and_resolve_references()
    for key, value, words in (
        ("width", 32, r"encoder\.\S+ is float32 \(16,\) there, and float32 \(32,\) in the model"),
        ("num_layers", 2, r"encoder\.layers\.1\.\S+ is absent there"),
        ("heads", "spline", r"spline_values is absent there"),
    ):
        changed = config.copy_and_resolve_references()
        changed.model[key] = value
        with pytest.raises(ValueError, match=words):
            load_run(changed, recall.folder)
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        load_run(sst2.config, tmp_path)


def test_baseline_has_the_tokenizer_of_its_run(tmp_path):
    baseline = tmp_path / "baseline"
    baseline.mkdir()
    assert tokenizer_folder(tmp_path) == tmp_path
    assert tokenizer_folder(baseline) == tmp_path
    # A run of its own that happens to be called so.
    (baseline / "tokenizer.json").write_text("{}")
    assert tokenizer_folder(baseline) == baseline
