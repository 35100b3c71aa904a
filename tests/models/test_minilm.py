"""Real weights: all-MiniLM-L6-v2 equals transformers, and golden figures where torch is absent."""

import jax
import numpy as np
import pytest

from hopfield_attn.models import embed, load_pretrained
from hopfield_attn.models.bert_folder import read_bert_folder
from hopfield_attn.models.convert import convert_folder
from hopfield_attn.models.embedding import mean_pooled
from hopfield_attn.models.export import model_tensors
from tests.models.minilm import COSINES, SENTENCES, cases, golden, require_weights, sample


@pytest.fixture(scope="module")
def model():
    return load_pretrained(require_weights())


def states(encoder, tokens, mask):
    return np.asarray(jax.jit(lambda *arrays: encoder(*arrays))(tokens, mask))


def test_every_tensor_has_its_place(model):
    assert len(model.report.loaded) == 101
    assert model.report.fresh == ()
    tensors = read_bert_folder(require_weights()).tensors
    written = model_tensors(model.encoder)
    assert all(written[name].tobytes() == tensors[name].tobytes() for name in written)


@pytest.mark.parametrize("case", ["one sentence", "padded batch", "512 tokens"])
def test_states_equal_the_golden_figures(model, case):
    tokens, mask = cases()[case]
    found = sample(states(model.encoder, tokens, mask), mask)
    np.testing.assert_allclose(found, golden()["states"][case], atol=1e-5)


def test_cosines_are_those_of_sentence_transformers(model):
    vectors = embed(model, SENTENCES)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    found = [vectors[i] @ vectors[j] for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(found, COSINES, atol=2e-6)


def test_an_embedding_does_not_depend_on_the_batch(model):
    texts = ["No.", *SENTENCES, " ".join(SENTENCES * 9)]
    together = embed(model, texts, batch_size=3)
    alone = np.concatenate([embed(model, [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert embed(model, []).shape == (0, 384)


def test_a_converted_untrained_model_answers_as_the_original(model, tmp_path):
    heads = "quadratic:4,log_cosh:2,spline:2,identity:4"
    options = {"head_layers": "3-6", "coupling": "pooled", "num_steps": 2}
    convert_folder(require_weights(), tmp_path / "new", heads=heads, **options)
    new = embed(tmp_path / "new", SENTENCES)
    np.testing.assert_allclose(new, embed(model, SENTENCES), atol=1e-6)


@pytest.mark.heavy
def test_states_and_embeddings_equal_those_of_transformers(model):
    reason = "transformers and torch are not installed: scripts/test --all brings them"
    pytest.importorskip("torch", reason=reason)
    pytest.importorskip("transformers", reason=reason)
    from tests.models.make_minilm_golden import states_of

    for tokens, mask in cases().values():
        expected = states_of(tokens, mask)
        np.testing.assert_allclose(
            states(model.encoder, tokens, mask)[mask], expected[mask], atol=1e-5
        )
        pooled = np.sum(expected * mask[:, :, None], axis=1)
        pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
        found = jax.jit(lambda *arrays: mean_pooled(model.encoder, *arrays))(tokens, mask)
        np.testing.assert_allclose(found, pooled, atol=1e-5)


@pytest.mark.heavy
def test_transformers_loads_what_is_exported(model, tmp_path):
    reason = "transformers and torch are not installed: scripts/test --all brings them"
    torch = pytest.importorskip("torch", reason=reason)
    transformers = pytest.importorskip("transformers", reason=reason)
    convert_folder(require_weights(), tmp_path / "new", heads="quadratic")
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "new")
    tensors = read_bert_folder(require_weights()).tensors
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), tensors[name])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
    batch = tokenizer(SENTENCES[:1], return_tensors="pt")
    tokens, mask = cases()["one sentence"]
    np.testing.assert_array_equal(batch["input_ids"].numpy(), tokens)
    with torch.no_grad():
        out = theirs.eval()(**batch).last_hidden_state.numpy()
    np.testing.assert_allclose(out, states(model.encoder, tokens, mask), atol=1e-5)
