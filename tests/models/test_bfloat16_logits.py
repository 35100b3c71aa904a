"""Of a model that computes in bfloat16 the logits are float32, and not rounded on the way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.defaults import get_defaults
from hopfield_attn.models.registry import (
    make_classifier,
    make_masked_language_model,
    make_multiple_choice,
    make_span_pair_classifier,
    make_span_predictor,
    make_token_classifier,
)

CONFIG = get_defaults().model.to_dict() | {
    "width": 16,
    "num_layers": 1,
    "num_heads": 2,
    "mlp_width": 32,
    "dtype": "bfloat16",
}
SIZES = {"vocab_size": 40, "max_length": 6, "seed": 0}
TOKENS = jax.random.randint(jax.random.key(0), (2, 6), 0, 40)
POSITIONS = jnp.array([[1, 4], [3, 0]])
MODELS = {
    "mlm": (make_masked_language_model, {}, (TOKENS, None, POSITIONS)),
    "classifier": (make_classifier, {"num_outputs": 9}, (TOKENS,)),
    "tokens": (make_token_classifier, {"num_outputs": 9}, (TOKENS, None, None, POSITIONS)),
    "choice": (make_multiple_choice, {}, (TOKENS.reshape(2, 6, 1).repeat(6, 2),)),
    "spans": (
        make_span_pair_classifier,
        {"num_outputs": 9},
        (TOKENS, None, None, jnp.array([[[1, 2], [2, 3]]] * 2)),
    ),
    "answer": (make_span_predictor, {}, (TOKENS,)),
}


@pytest.mark.parametrize("name", MODELS)
def test_logits_have_the_digits_of_float32(name):
    make, options, arguments = MODELS[name]
    # Not under jit, where a compiler may leave out that a number is rounded.
    (logits, *_) = jax.tree.leaves(make(CONFIG, **SIZES, **options)(*arguments))
    assert logits.dtype == jnp.float32
    rounded = logits.astype(jnp.bfloat16).astype(jnp.float32)
    assert np.mean(logits != rounded) > 0.5
