"""Hugging Face BERT folders: read, checked, made non-linear, written again."""

import json
import pickle

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from hopfield_attn.models import Classifier, MaskedLanguageModel, load_pretrained, save_pretrained
from hopfield_attn.models.bert_folder import read_bert_folder, read_bert_tokenizer
from hopfield_attn.models.convert import convert_folder
from hopfield_attn.models.export import model_tensors
from hopfield_attn.models.pretrained import assign_tensors, load_weights
from tests.models.tiny_bert import CONFIG, TEXT, random_tensors, shapes, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("bert") / "tiny")


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.dtype == second[name].dtype, name
        assert array.tobytes() == second[name].tobytes(), name


def outputs(model, length=10):
    rng = np.random.default_rng(3)
    tokens = jnp.asarray(rng.integers(0, CONFIG["vocab_size"], size=(2, length)))
    mask = jnp.arange(length)[None] < jnp.array([[length], [length - 4]])
    return jax.jit(lambda: model(tokens, mask))()


@pytest.mark.core
@pytest.mark.parametrize("prefix", ["", "bert."])
def test_the_tensors_go_in_and_out_bit_for_bit(prefix, tmp_path):
    tensors = random_tensors(shapes(prefix=prefix))
    source = write_folder(tmp_path / "in", tensors=tensors)
    model = load_pretrained(source)
    assert model.report.fresh == ()
    assert set(model.report.unused) == {f"{prefix}pooler.dense.{end}" for end in ("weight", "bias")}
    expected = {name.removeprefix(prefix): tensors[name] for name in model.report.loaded}
    assert_same_bits(model_tensors(model.encoder), expected)
    save_pretrained(model.encoder, tmp_path / "out", tokenizer=model.tokenizer)
    assert_same_bits(read_bert_folder(tmp_path / "out").tensors, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32_and_written_as_it_was(dtype, tmp_path):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    tensors = random_tensors(shapes(), dtype=kind)
    model = load_pretrained(write_folder(tmp_path / "half", tensors=tensors))
    assert model.encoder.tokens.embedding.dtype == jnp.float32
    written = model_tensors(model.encoder, dtype=dtype)
    assert_same_bits(written, {name: tensors[name] for name in written})


@pytest.mark.parametrize(
    "coupling,num_steps",
    [
        ("pooled", 1),
        ("pairwise", 4),
        *(
            pytest.param(coupling, num_steps, marks=pytest.mark.slow)
            for coupling, num_steps in (
                ("pooled", 4),
                ("pairwise", 1),
                ("elementwise", 1),
                ("elementwise", 4),
            )
        ),
    ],
)
def test_nonlinear_heads_leave_the_outputs_as_they_were_at_alpha_zero(folder, coupling, num_steps):
    expected = outputs(load_pretrained(folder).encoder)
    options = {"coupling": coupling, "num_steps": num_steps, "lam": 0.7}
    heads = "quadratic:1,spline:1,log_cosh:1,identity:1"
    model = load_pretrained(folder, heads=heads, head_layers="2-3", **options)
    families = [layer.attention.heads for layer in model.encoder.layers]
    assert families == ["identity", heads, heads]
    # A spline starts as the identity.
    np.testing.assert_allclose(outputs(model.encoder), expected, atol=1e-6)
    model.encoder.layers[2].attention.alpha[...] = jnp.full(4, 0.5)
    assert np.max(np.abs(outputs(model.encoder) - expected)) > 1e-3


def test_a_converted_folder_brings_its_heads_and_its_alpha(folder, tmp_path):
    heads = "quadratic:2,spline:2"
    options = {"coupling": "pairwise", "num_steps": 3, "lam": 2.0, "alpha_init": 0.25}
    report = convert_folder(folder, tmp_path / "new", heads=heads, head_layers="2", **options)
    assert set(report.fresh) == {
        "encoder.layer.1.attention.self.alpha",
        "encoder.layer.1.attention.self.spline_values",
    }
    tensors = read_bert_folder(tmp_path / "new").tensors
    original = read_bert_folder(folder).tensors
    assert_same_bits({name: tensors[name] for name in original}, original)
    model = load_pretrained(tmp_path / "new")
    assert model.report.fresh == ()
    attention = model.encoder.layers[1].attention
    assert (attention.heads, attention.coupling, attention.lam) == (heads, "pairwise", 2.0)
    np.testing.assert_array_equal(attention.alpha[...], np.full(4, 0.25, np.float32))
    direct = load_pretrained(folder, heads=heads, head_layers="2", **options)
    np.testing.assert_array_equal(outputs(model.encoder), outputs(direct.encoder))
    # What the heads on top of it average over stays as it was.
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    config["hopfield_attn"]["pooling"] = "mean"
    (tmp_path / "new" / "config.json").write_text(json.dumps(config))
    convert_folder(tmp_path / "new", tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == config
    # And back: linear again, the tensors are those of the original.
    convert_folder(tmp_path / "new", tmp_path / "back", heads="identity")
    assert_same_bits(read_bert_folder(tmp_path / "back").tensors, original)
    with pytest.raises(FileExistsError, match="name a new folder"):
        convert_folder(folder, tmp_path / "new")


@pytest.mark.parametrize("kind", ["mlm", "classifier"])
def test_heads_on_top_go_in_and_out(folder, kind, tmp_path):
    def model(seed):
        encoder = load_pretrained(folder).encoder
        rngs = nnx.Rngs(seed)
        if kind == "mlm":
            return MaskedLanguageModel(encoder, rngs=rngs)
        return Classifier(encoder, num_outputs=3, rngs=rngs)

    first, second = model(0), model(1)
    save_pretrained(first, tmp_path / "top", tokenizer=None)
    report = load_weights(second, tmp_path / "top")
    assert report.fresh == () and report.unused == ()
    assert_same_bits(model_tensors(first), model_tensors(second))
    names = read_bert_folder(tmp_path / "top").tensors
    top = "cls.predictions.bias" if kind == "mlm" else "classifier.weight"
    assert top in names and "bert.embeddings.word_embeddings.weight" in names


def test_a_plain_bert_leaves_the_heads_on_top_fresh(folder):
    model = Classifier(load_pretrained(folder).encoder, num_outputs=2, rngs=nnx.Rngs(0))
    before = np.asarray(model.out.kernel[...])
    report = load_weights(model, folder)
    assert report.fresh == ("classifier.weight", "classifier.bias")
    assert "pooler.dense.weight" in report.loaded
    np.testing.assert_array_equal(model.out.kernel[...], before)


def test_old_names_of_layer_norms_and_tied_copies_are_known(folder):
    tensors = read_bert_folder(folder).tensors
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): a
        for name, a in tensors.items()
    }
    model = MaskedLanguageModel(load_pretrained(folder).encoder, rngs=nnx.Rngs(0))
    words = tensors["embeddings.word_embeddings.weight"]
    report = assign_tensors(model, old | {"cls.predictions.decoder.weight": words}, source="x")
    assert "embeddings.LayerNorm.gamma" in report.loaded
    assert set(report.unused) == {"pooler.dense.weight", "pooler.dense.bias"}
    with pytest.raises(ValueError, match="must be tied to embeddings.word_embeddings"):
        assign_tensors(model, old | {"cls.predictions.decoder.weight": words + 1}, source="x")


def test_positions_beyond_the_table_start_again(folder):
    table = read_bert_folder(folder).tensors["embeddings.position_embeddings.weight"]
    long = load_pretrained(folder, max_length=60).encoder.positions.embedding[...]
    np.testing.assert_array_equal(long, np.concatenate([table, table, table[:12]]))
    short = load_pretrained(folder, max_length=5).encoder.positions.embedding[...]
    np.testing.assert_array_equal(short, table[:5])


@pytest.mark.core
@pytest.mark.parametrize(
    "change,message",
    [
        ({"model_type": "roberta"}, "model_type must be 'bert'; got 'roberta': its positions"),
        ({"hidden_size": 18}, "divisible by num_attention_heads; got 18 and 4"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type must be 'absolute'"),
        ({"hidden_act": "swish"}, "hidden_act must be one of gelu, .*; got 'swish'"),
        ({"vocab_size": 280, "hidden_size": 12}, "embeddings.word_embeddings.weight has shape"),
        ({"num_hidden_layers": 4}, "encoder.layer.3.attention.self.query.weight is missing"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(change, message, folder, tmp_path):
    tensors = read_bert_folder(folder).tensors
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | change), encoding="utf-8")
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        load_pretrained(tmp_path)


def test_a_wrong_tensor_changes_nothing(folder):
    model = load_pretrained(folder).encoder
    before = model_tensors(model)
    tensors = random_tensors(shapes(), seed=1)
    tensors["encoder.layer.2.output.dense.bias"] = np.zeros(7, np.float32)
    with pytest.raises(ValueError, match=r"has shape \(7,\), expected \(16,\)"):
        assign_tensors(model, tensors, source="x")
    tensors["encoder.layer.2.output.dense.bias"] = np.zeros(16, np.int32)
    with pytest.raises(ValueError, match="is int32, expected float32"):
        assign_tensors(model, tensors, source="x")
    assert_same_bits(model_tensors(model), before)


@pytest.mark.parametrize("part", ["truncated", "garbage", "pickle", "nothing"])
def test_damaged_and_pickled_weights_are_refused(part, folder, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    whole = (folder / "model.safetensors").read_bytes()
    if part == "pickle":
        (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({}))
        error, message = FileNotFoundError, "is a pickle, which is a program and is not opened"
    elif part == "nothing":
        error, message = FileNotFoundError, "has no model.safetensors$"
    else:
        data = whole[:-5] if part == "truncated" else b"\xff" * 100
        (tmp_path / "model.safetensors").write_bytes(data)
        error, message = ValueError, "not a safetensors file, or damaged"
    with pytest.raises(error, match=message):
        load_pretrained(tmp_path)


def test_weights_in_parts_are_read(folder, tmp_path):
    tensors = read_bert_folder(folder).tensors
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    names = sorted(tensors)
    parts = {"a.safetensors": names[:20], "b.safetensors": names[20:]}
    for file, own in parts.items():
        safetensors.numpy.save_file({name: tensors[name] for name in own}, tmp_path / file)
    index = {"weight_map": {name: file for file, own in parts.items() for name in own}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert_same_bits(read_bert_folder(tmp_path).tensors, tensors)


@pytest.mark.parametrize("is_lower", [True, False])
def test_a_vocabulary_becomes_a_wordpiece_tokenizer(is_lower, tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "The"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    settings = {"do_lower_case": is_lower}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = read_bert_tokenizer(tmp_path)
    expected = ["the" if is_lower else "The", "cat", "##s"]
    assert tokenizer.encode("The cats", add_special_tokens=False).tokens == expected


def test_the_tokenizer_of_a_folder_is_read(folder):
    tokenizer = read_bert_tokenizer(folder)
    assert tokenizer.decode(tokenizer.encode(TEXT[0]).ids) == f" {TEXT[0]}"
