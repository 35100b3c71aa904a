"""What a run folder holds, and who may go on in it."""

import csv
import json
import math
import os
import shutil

import jax
import numpy as np
import pytest

from configs.defaults import get_defaults
from hopfield_attn.data import tokenizer as tokenizers
from hopfield_attn.files import write_json
from hopfield_attn.train import program, run_folder, step_loop
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.run_files import read_result, read_run_config, read_versions
from hopfield_attn.train.run_folder import PACKAGES, holds_run, open_run_folder, versions
from hopfield_attn.train.tasks.task import run_tokenizer
from hopfield_attn.train.trained import load_run_tokenizer


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def finished(make_config, train, tmp_path_factory):
    """The folder of a finished run, and its trained model."""
    folder = tmp_path_factory.mktemp("finished") / "deep" / "run"
    return folder, train(make_config({"train.eval_every": 5}), folder)


def test_finished_run_leaves_everything_behind(finished, make_config):
    folder, model = finished
    assert {entry.name for entry in folder.iterdir()} == {
        "config.json",
        "versions.json",
        "metrics.jsonl",
        "metrics.csv",
        "checkpoints",
        "evaluations.jsonl",
        "result.json",
    }
    config = json.loads((folder / "config.json").read_text())
    assert config == json.loads(make_config({"train.eval_every": 5}).to_json())
    assert json.loads((folder / "result.json").read_text()) == model.result
    recorded = json.loads((folder / "versions.json").read_text())
    assert recorded == versions()
    assert recorded["jax"] == jax.__version__
    assert set(PACKAGES) <= recorded.keys()
    # Steps 8 and 12, of the two that are kept.
    assert sorted(entry.name for entry in (folder / "checkpoints").iterdir()) == ["12", "8"]


def test_every_logged_row_says_step_loss_speed_and_learning_rate(finished):
    folder, _ = finished
    rows = read_metrics(folder)
    assert [row["step"] for row in rows] == list(range(1, 13))
    for row in rows:
        assert float.fromhex(row["loss_hex"]) == row["loss"]
        assert math.isfinite(row["loss"]) and row["grad_norm"] > 0
        figures = ("non_finite", "unconverged", "energy_drop", "attention_distance", "abs_alpha")
        # With the evaluations, at the end too; a CPU has no peak, and so no mfu.
        is_measured = row["step"] in (5, 10, 12)
        assert row.keys() == {
            "step",
            "loss",
            "loss_hex",
            "grad_norm",
            "skipped_steps",
            "learning_rate",
            "steps_per_second",
            "tokens_per_second",
            "model_flops_per_second",
            *(f"layer_1/{name}" for name in figures if is_measured),
        }
    # Warm-up to 1e-3 in round(0.1 · 12) = 1 update, then straight down: 0 would be at step 12.
    rates = [0.0] + [1e-3 * (11 - k) / 11 for k in range(11)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(rates, rel=1e-5)
    with (folder / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    names = list(table[0])
    assert [{name: str(row.get(name, "")) for name in names} for row in rows] == table


def test_result_says_what_was_reached_and_what_to_compare_with(finished):
    _, model = finished
    result = model.result
    assert set(result["evaluations"]) == {"validation", "test"}
    for scores in result["evaluations"].values():
        assert 0 <= scores["accuracy"] <= 1
    assert result["main_metric"] == "accuracy"
    assert result["baselines"]["chance_accuracy"] == pytest.approx(1 / 3)
    assert result["num_parameters"] == sum(leaf.size for leaf in jax.tree.leaves(model.params))
    assert result["num_steps"] == 12
    assert result["tokens_per_second"] > 0
    assert result["peak_memory_mib"] > 50


def test_finished_run_is_not_trained_again(finished, make_config, train, monkeypatch):
    folder, model = finished
    before = contents(folder)

    def refuse(*args, **kwargs):
        raise AssertionError("a step is trained")

    monkeypatch.setattr(step_loop, "iterate_batches", refuse)
    monkeypatch.setattr(program, "evaluate", refuse)
    again = train(make_config({"train.eval_every": 5}), folder)
    assert again.result == model.result
    for found, expected in zip(
        jax.tree.leaves(again.params), jax.tree.leaves(model.params), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert contents(folder) == before


def test_folder_of_another_run_is_refused_and_left_as_it_is(finished, make_config):
    folder, _ = finished
    before = contents(folder)
    other = make_config({"train.eval_every": 5, "optimizer.learning_rate": 0.5, "model.lam": 3.0})
    with pytest.raises(ValueError) as caught:
        open_run_folder(folder, other)
    message = str(caught.value)
    assert "optimizer.learning_rate: 0.001 there, 0.5 asked for" in message
    assert "model.lam: 1.0 there, 3.0 asked for" in message
    assert str(folder) in message
    assert "\n" not in message
    assert contents(folder) == before


def test_folder_with_a_result_alone_is_that_of_its_run(finished, make_config, tmp_path):
    folder, _ = finished
    for name in ("config.json", "versions.json", "result.json"):
        shutil.copy(folder / name, tmp_path / name)
    assert holds_run(tmp_path, make_config({"train.eval_every": 5}))
    with pytest.raises(ValueError, match="seed: 0 there, 1 asked for"):
        open_run_folder(tmp_path, make_config({"train.eval_every": 5, "seed": 1}))


def test_files_are_the_same_whatever_the_folder_is_that_they_are_named_from(
    make_config, tmp_path, monkeypatch
):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    named = {"data.dir": "../glue", "data.source": "x.txt:embedded:~/y"}
    open_run_folder(tmp_path / "run", make_config(named))
    recorded = read_run_config(tmp_path / "run")["data"]
    assert recorded["dir"] == str(tmp_path / "glue")
    home = os.path.expanduser("~")
    assert recorded["source"] == f"{tmp_path}/a/x.txt:embedded:{home}/y"
    # What has begun is compared.
    write_json(tmp_path / "run" / "result.json", {})
    monkeypatch.chdir(tmp_path)
    assert holds_run(
        tmp_path / "run",
        make_config(named | {"data.dir": "glue", "data.source": "a/x.txt:embedded:~/y"}),
    )
    with pytest.raises(ValueError, match=r"data.dir: .*glue' there, 'hub:nyu-mll/glue' asked for"):
        holds_run(tmp_path / "run", make_config(named | {"data.dir": "hub:nyu-mll/glue"}))


def test_refusal_names_five_differences_and_counts_the_rest(finished, make_config):
    folder, _ = finished
    changes = {f"data.{name}": 99 for name in ("num_pairs", "num_keys", "num_values", "length")}
    changes |= {"seed": 1, "train.batch_size": 16, "train.eval_every": 4}
    with pytest.raises(ValueError, match="and 2 more") as caught:
        open_run_folder(folder, make_config(changes))
    assert str(caught.value).count("asked for") == 5


def test_keys_that_change_no_result_may_be_others_when_a_run_goes_on(finished, make_config):
    folder, _ = finished
    changes = {
        "train.log_every": 7,
        "train.checkpoint_every": 9,
        "train.keep_checkpoints": 5,
        "train.energy_every": -1,
        "train.watchdog_seconds": 60.0,
        "train.peak_flops": 1e12,
        "train.tracking": "tensorboard",
        "data.num_threads": 3,
        "mesh.fsdp": 1,
    }
    assert holds_run(folder, make_config(changes | {"train.eval_every": 5}))
    with pytest.raises(ValueError, match="set these keys back, or name a new run folder") as caught:
        holds_run(folder, make_config(changes | {"train.eval_every": 6, "data.length": 9}))
    assert str(caught.value).count("asked for") == 2


def test_key_that_only_one_of_two_configs_has_is_a_difference(finished, make_config):
    folder, _ = finished
    config = make_config({"train.eval_every": 5}).unlock()
    config.extra = 1
    with pytest.raises(ValueError, match="extra: 'absent' there, 1 asked for"):
        open_run_folder(folder, config)


def test_folder_whose_run_failed_before_a_step_takes_a_corrected_config(
    make_config, train, tmp_path
):
    def fail(model, batch, rngs):
        raise RuntimeError("the first step fails")

    with pytest.raises(RuntimeError, match="first step"):
        train(make_config({"model.width": 8}), tmp_path, loss_fn=fail)
    (tmp_path / "tokenizer.json").write_text("of the text that was wrong")
    open_run_folder(tmp_path, make_config({"seed": 3}))
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 3
    assert not (tmp_path / "tokenizer.json").exists()
    assert read_result(tmp_path) is None


@pytest.mark.parametrize("names", [("config.json", "tokenizer.json"), ("tokenizer.json",)])
def test_folder_of_something_else_is_refused_and_left_as_it_is(names, make_config, tmp_path):
    for name in names:
        (tmp_path / name).write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="holds files of something else than a run"):
        open_run_folder(tmp_path, make_config())
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == dict.fromkeys(
        names, '{"model_type": "bert"}'
    )


def test_run_that_goes_on_with_other_versions_says_so(make_config, tmp_path, monkeypatch):
    config = make_config()
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    first = versions()
    write_json(tmp_path / "versions.json", first)
    write_json(tmp_path / "config.json", json.loads(config.to_json()))
    for jax_version in (first["jax"], "99.0", "99.0", "99.1"):
        now = first | {"jax": jax_version}
        monkeypatch.setattr(run_folder, "versions", lambda now=now: now)
        open_run_folder(tmp_path, config)
    recorded = read_versions(tmp_path)
    assert recorded.pop(run_folder.GONE_ON) == [{"jax": "99.0"}, {"jax": "99.1"}]
    assert recorded == first


def test_folder_with_a_checkpoint_is_a_run_although_nothing_was_logged(
    make_config, train, tmp_path, monkeypatch
):
    changes = {"train.log_every": 100, "train.energy_every": -1}
    config = make_config(changes | {"train.checkpoint_every": 2, "train.eval_every": 4})

    class Killed(BaseException):
        pass

    def kill(*args, **kwargs):
        raise Killed

    monkeypatch.setattr(program, "evaluate", kill)
    with pytest.raises(Killed):
        train(config, tmp_path)
    assert read_metrics(tmp_path) == []
    with pytest.raises(ValueError, match="seed: 0 there, 3 asked for"):
        open_run_folder(
            tmp_path,
            make_config({"train.log_every": 100, "train.checkpoint_every": 2, "seed": 3}),
        )


def test_tokenizer_of_a_run_is_trained_once(tmp_path):
    texts = ["low lower lowest"] * 3
    config = get_defaults()
    config.data.vocab_size = 264
    first = run_tokenizer(texts, config, tmp_path)
    again = run_tokenizer(["other words altogether"] * 3, config, tmp_path)
    assert again.to_str() == first.to_str()
    assert tokenizers.load_tokenizer(tmp_path / "tokenizer.json").to_str() == first.to_str()


def test_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path):
    config = get_defaults()
    config.task, config.data.vocab_size = "glue", 264
    tokenizer = run_tokenizer(["low lower lowest"] * 3, config, tmp_path)
    config.data.vocab_size = 263
    message = "tokenizer.json: the tokenizer has 264 ids, and the model takes data.vocab_size=263"
    with pytest.raises(ValueError, match=message):
        run_tokenizer([], config, tmp_path)
    with pytest.raises(ValueError, match=message):
        load_run_tokenizer(config, tmp_path)
    # That of a pretrained folder is not even taken into the run.
    config.model.pretrained = str(tmp_path)
    with pytest.raises(ValueError, match="has 264 ids"):
        run_tokenizer([], config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    config.data.vocab_size = 1000
    assert run_tokenizer([], config, tmp_path / "run").to_str() == tokenizer.to_str()
