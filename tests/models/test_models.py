import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.defaults import get_defaults
from hopfield_attn.models.registry import make_classifier, make_masked_language_model

CONFIG = get_defaults().model.to_dict() | {
    "width": 16,
    "num_layers": 1,
    "num_heads": 2,
    "mlp_width": 32,
    "heads": "identity:1,quadratic:1",
    "alpha_init": 0.1,
}
TOKENS = jax.random.randint(jax.random.key(0), (2, 6), 0, 40)
MASK = jnp.array([[True] * 6, [True] * 4 + [False] * 2])


def classifier(num_outputs=3, **changes):
    return make_classifier(
        CONFIG | changes, vocab_size=40, max_length=6, num_outputs=num_outputs, seed=0
    )


def masked_language_model(**changes):
    return make_masked_language_model(CONFIG | changes, vocab_size=40, max_length=6, seed=0)


def test_masked_logits_are_those_of_the_chosen_positions_with_the_tied_decoder():
    model = masked_language_model()
    model.bias[...] = jnp.arange(40.0)
    positions = jnp.array([[1, 4], [3, 0]])
    logits = model(TOKENS, MASK, positions)
    states = model.encoder(TOKENS, MASK)
    for b in range(2):
        for p in range(2):
            state = model.norm(jax.nn.gelu(model.transform(states[b, positions[b, p]]), False))
            expected = state @ model.encoder.tokens.embedding[...].T + jnp.arange(40.0)
            np.testing.assert_allclose(logits[b, p], expected, atol=1e-5)


def test_mean_pooling_averages_real_tokens_only():
    model = classifier(pooling="mean")
    states = model.encoder(TOKENS, MASK)
    expected = model.out(jnp.stack([states[0].mean(0), states[1, :4].mean(0)]))
    np.testing.assert_allclose(model(TOKENS, MASK), expected, atol=1e-6)


def test_cls_pooling_reads_the_first_token():
    model = classifier()
    states = model.encoder(TOKENS, MASK)
    expected = model.out(jnp.tanh(model.pooler(states[:, 0])))
    np.testing.assert_allclose(model(TOKENS, MASK), expected, atol=1e-6)


def test_the_seed_decides_the_parameters():
    first, same = masked_language_model(), masked_language_model()
    embedding = first.encoder.tokens.embedding[...]
    np.testing.assert_array_equal(embedding, same.encoder.tokens.embedding[...])
    other = make_masked_language_model(CONFIG, vocab_size=40, max_length=6, seed=1)
    assert np.abs(embedding - other.encoder.tokens.embedding[...]).max() > 0.01


def test_logits_are_float32_under_bfloat16():
    assert classifier(dtype="bfloat16")(TOKENS, MASK).dtype == jnp.float32
    positions = jnp.zeros((2, 1), int)
    assert masked_language_model(dtype="bfloat16")(TOKENS, MASK, positions).dtype == jnp.float32


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="pooling must be one of 'cls', 'mean'"):
        classifier(pooling="max")
    with pytest.raises(ValueError, match=r"model\.dtype must be one of"):
        classifier(dtype="float8")


def test_automatic_lam_takes_the_place_of_the_number():
    def output(**changes):
        # Strong enough that λ = 0 is not certified.
        model = classifier(pooling="mean", alpha_init=30.0, heads="quadratic", **changes)
        return np.asarray(model(TOKENS, MASK))

    assert np.array_equal(output(auto_lam=True, lam=0.5), output(auto_lam=True, lam=5.0))
    assert not np.allclose(output(auto_lam=True), output(lam=0.0), atol=1e-3)
    assert not np.allclose(output(auto_lam=True), output(lam=1e6), atol=1e-5)
