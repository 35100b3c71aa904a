"""Runs that start from a pretrained BERT."""

import json
import os
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from configs.finetune import get_config
from hopfield_attn.models.bert_folder import read_bert_folder, read_bert_tokenizer
from hopfield_attn.models.convert import convert_folder
from hopfield_attn.models.pretrained import load_pretrained, load_weights
from hopfield_attn.train import main
from hopfield_attn.train.export_run import export_run, labels_of
from hopfield_attn.train.pretrained import adopt_pretrained
from hopfield_attn.train.run_folder import holds_run
from hopfield_attn.train.tasks import make_model
from hopfield_attn.train.trained import load_run
from tests.models.tiny_bert import CONFIG, write_folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("bert") / "tiny")


@pytest.fixture
def config(bert, tmp_path):
    folder = tmp_path / "glue" / "SST-2"
    folder.mkdir(parents=True)
    for split in ("train", "dev"):
        rows = [f"the {word} cat sat\t{label}" for word, label in (("good", 1), ("bad", 0))] * 8
        (folder / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    made = get_config("smoke")
    made.data.dir = str(folder.parent)
    made.model.pretrained = str(bert)
    # The BERT of the tests has four heads and three layers.
    made.model.update({"heads": "quadratic:2,identity:2", "head_layers": "2-3"})
    return made


def test_the_sizes_of_the_config_become_those_of_the_bert(config):
    config.model.width = 999
    config.model.norm = "pre"
    config.data.length = 40
    adopt_pretrained(config)
    assert config.model.width == CONFIG["hidden_size"]
    assert (config.model.norm, config.data.vocab_size) == ("post", CONFIG["vocab_size"])
    assert config.model.num_positions == 40
    config.data.length = 8
    adopt_pretrained(config)
    assert config.model.num_positions == CONFIG["max_position_embeddings"]


def test_a_run_starts_from_the_weights_and_records_what_it_took(config, bert, tmp_path, quiet):
    # Without steps that change anything, the weights are those of the folder.
    config.optimizer.learning_rate = 0.0
    config.train.num_steps = 4
    config.train.checkpoint_every = 2
    task_runs = []
    original = main.train

    def keep(*arguments, **options):
        task_runs.append(original(*arguments, **options))
        return task_runs[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "train", keep)
        result = main.run(config, tmp_path / "run", console=quiet)
    params = task_runs[0].params
    tensors = read_bert_folder(bert).tensors
    np.testing.assert_array_equal(
        params["encoder"]["layers"][1]["mlp_in"]["kernel"],
        tensors["encoder.layer.1.intermediate.dense.weight"].T,
    )
    record = json.loads((tmp_path / "run" / "pretrained.json").read_text())
    assert record["source"] == str(bert)
    assert len(record["loaded"]) == 53 and not record["unused"][2:]
    assert "classifier.weight" in record["fresh"]
    printed = quiet.file.getvalue()
    assert "Pretrained: " in printed and "encoder.layer.*.attention.self.alpha" in printed
    # α of the non-linear heads, by layer and head.
    rows = [(row["layer"], row["head"], row["alpha"]) for row in result["alpha"]]
    assert rows == [(2, 1, 0.0), (2, 2, 0.0), (3, 1, 0.0), (3, 2, 0.0)]
    tokenizer = read_bert_tokenizer(bert)
    saved = (tmp_path / "run" / "tokenizer.json").read_text(encoding="utf-8")
    assert json.loads(saved) == json.loads(tokenizer.to_str())


@pytest.mark.slow
def test_a_trained_run_goes_out_as_a_folder_and_in_again(config, tmp_path, quiet):
    main.run(config, tmp_path / "run", console=quiet)
    step = export_run(config, tmp_path / "run", tmp_path / "out")
    assert step == config.train.num_steps
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    # Mean pooling is none of BERT's: to transformers this is an encoder.
    assert written["architectures"] == ["BertModel"]
    assert written["hopfield_attn"]["pooling"] == "mean"
    convert_folder(tmp_path / "out", tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == written
    assert written["id2label"] == {"0": "negative", "1": "positive"}
    run = load_run(config, tmp_path / "run")
    model = run.definition.bind(run.params)
    expected = np.asarray(model.encoder.layers[1].attention.alpha[...])
    again = load_pretrained(tmp_path / "out").encoder.layers[1].attention
    np.testing.assert_array_equal(again.alpha[...], expected)
    assert (again.heads, again.num_steps) == (config.model.heads, config.model.num_steps)
    fresh = make_model(config)
    assert load_weights(fresh, tmp_path / "out").fresh == ()
    np.testing.assert_array_equal(fresh.out.kernel[...], model.out.kernel[...])
    with pytest.raises(FileExistsError, match="name a new folder"):
        export_run(config, tmp_path / "run", tmp_path / "out")


@pytest.mark.core
@pytest.mark.parametrize(
    ("task", "name", "expected"),
    [
        ("glue", "mnli", {"entailment": 0, "neutral": 1, "contradiction": 2}),
        ("superglue", "cb", {"entailment": 0, "contradiction": 1, "neutral": 2}),
        ("superglue", "wic", {"False": 0, "True": 1}),
        ("superglue", "copa", None),
        ("qa", "squad1", None),
    ],
)
def test_classes_go_out_with_their_names(task, name, expected, make_config):
    found = labels_of(make_config({"task": task, "data.task": name}))
    assert found.get("label2id") == expected
    if expected:
        assert found["id2label"] == {k: label for label, k in expected.items()}


@pytest.mark.slow
def test_alpha_moves_with_a_rate_of_its_own(config, tmp_path, quiet):
    fast = main.run(config, tmp_path / "fast", console=quiet)
    config.optimizer.alpha_rate = 0.0
    still = main.run(config, tmp_path / "still", console=quiet)
    assert all(row["alpha"] == 0 for row in still["alpha"])
    assert all(abs(row["alpha"]) > 1e-5 for row in fast["alpha"])


def test_a_run_that_goes_on_does_not_need_the_folder_again(config, tmp_path, quiet, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "copy")
    config.model.pretrained = "copy"
    # As the command line has it every time: with the sizes of the config file.
    again, elsewhere, other = (config.copy_and_resolve_references() for _ in range(3))
    first = main.run(config, tmp_path / "run", console=quiet)
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())
    assert recorded["model"]["pretrained"] == str(tmp_path / "copy")
    (tmp_path / "run" / "result.json").unlink()
    shutil.rmtree("copy")
    assert main.run(again, tmp_path / "run", console=quiet)["evaluations"] == first["evaluations"]
    # The recorded path names the folder from anywhere, the one that was given does not.
    monkeypatch.chdir(tmp_path / "run")
    elsewhere.model.pretrained = recorded["model"]["pretrained"]
    assert main.run(elsewhere, tmp_path / "run", console=quiet)["evaluations"]
    with pytest.raises(FileNotFoundError, match="model.pretrained=copy: no such folder"):
        main.run(other, tmp_path / "run", console=quiet)


def test_a_run_is_not_that_of_another_pretrained_folder(config, bert, tmp_path, quiet):
    other = config.copy_and_resolve_references()
    main.run(config, tmp_path / "run", console=quiet)
    other.model.pretrained = str(write_folder(tmp_path / "other"))
    with pytest.raises(ValueError, match="another config .model.pretrained: "):
        main.run(other, tmp_path / "run", console=quiet)
    # Runs of before recorded the path as it was given.
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text().replace(str(bert), os.path.relpath(bert)))
    assert holds_run(tmp_path / "run", config)


def test_heads_of_a_converted_folder_are_not_left_out_silently(config, bert, tmp_path):
    convert_folder(bert, tmp_path / "new", heads="quadratic")
    config.model.pretrained = str(tmp_path / "new")
    config.model.heads = "identity"
    with pytest.raises(ValueError, match="would leave them out; name the heads of this run"):
        adopt_pretrained(config)


def test_of_more_than_two_token_types_the_first_two_are_taken(config, tmp_path):
    folder = write_folder(tmp_path / "types", config=CONFIG | {"type_vocab_size": 16})
    config.model.pretrained = str(folder)
    adopt_pretrained(config)
    model = make_model(config)
    assert "embeddings.token_type_embeddings.weight" in load_weights(model, folder).loaded
    tokens, types = jnp.arange(12)[None] + 5, jnp.arange(12)[None] // 6
    expected = load_pretrained(folder).encoder(tokens, None, types)
    np.testing.assert_allclose(model.encoder(tokens, None, types), expected, atol=1e-6)


def test_a_bert_with_one_token_type_is_refused_before_any_work(config, tmp_path, quiet):
    folder = write_folder(tmp_path / "types", config=CONFIG | {"type_vocab_size": 1})
    config.model.pretrained = str(folder)
    with pytest.raises(ValueError, match="type_vocab_size must be at least 2, .*; got 1"):
        main.run(config, tmp_path / "run", console=quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"coupling": "pairwise"}, r"model.coupling is 'pooled' there and 'pairwise' here;"),
        ({"num_steps": 1}, r"model.num_steps is 3 there and 1 here;"),
        ({"step_size": 0.1, "gain": 2.0}, r"step_size is None there and 0.1 here; model.gain is"),
        ({"auto_lam": True}, r"model.lam is 2.0 there and 'auto' here;"),
        ({"heads": "log_cosh"}, r"the heads of layer 2 are 'quadratic:4' there and 'log_cosh:4'"),
        ({"head_layers": "1"}, r"the heads of layer 2 are 'quadratic:4' there and 'identity:4'"),
    ],
)
def test_learned_heads_of_a_folder_keep_their_settings(changes, words, config, bert, tmp_path):
    options = {"heads": "quadratic", "head_layers": "2", "lam": 2.0, "num_steps": 3}
    for name, alpha in (("fresh", 0.0), ("learned", 0.5)):
        convert_folder(bert, tmp_path / name, **options, alpha_init=alpha)
    config.model.update(heads="quadratic:4", head_layers="1-2", lam=2, num_steps=3)
    config.model.pretrained = str(tmp_path / "learned")
    # Heads of further layers start at α = 0.
    adopt_pretrained(config)
    config.model.update(changes)
    with pytest.raises(ValueError, match=words):
        adopt_pretrained(config)
    # Where nothing has been learned, every setting computes the same.
    config.model.pretrained = str(tmp_path / "fresh")
    adopt_pretrained(config)


def test_a_folder_that_is_not_there_is_said_before_anything_is_done(config, tmp_path, quiet):
    config.model.pretrained = "BERT"
    with pytest.raises(FileNotFoundError, match="--config.model.pretrained=FOLDER"):
        main.run(config, tmp_path / "run", console=quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_masked_language_modelling_goes_on_from_a_bert_without_a_head(bert, tmp_path, quiet):
    from configs.mlm import get_config as get_mlm

    lines = [f"the cat sat on the mat {i}" for i in range(60)]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    config = get_mlm("smoke")
    config.data.source = str(tmp_path / "text.txt")
    config.data.validation_fraction = config.data.test_fraction = 0.2
    config.data.packing = "lines"
    config.data.whole_words = True
    config.model.pretrained = str(bert)
    config.model.heads = "identity:2,log_cosh:2"
    config.train.num_steps = 4
    config.train.eval_every = 0
    result = main.run(config, tmp_path / "run", console=quiet)
    assert sum(result["data"]["num_documents"].values()) == 60
    record = json.loads((tmp_path / "run" / "pretrained.json").read_text())
    fresh = {"cls.predictions.bias", "cls.predictions.transform.dense.weight"}
    assert fresh <= set(record["fresh"])
    assert 0 < result["evaluations"]["test"]["loss"] < 20
