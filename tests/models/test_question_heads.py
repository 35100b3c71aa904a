import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from configs.defaults import get_defaults
from hopfield_attn.models.choice_head import max_over_windows
from hopfield_attn.models.registry import (
    make_multiple_choice,
    make_span_pair_classifier,
    make_span_predictor,
)

CONFIG = get_defaults().model.to_dict() | {
    "width": 16,
    "num_layers": 1,
    "num_heads": 2,
    "mlp_width": 32,
    "alpha_init": 0.1,
}
SIZES = {"vocab_size": 40, "max_length": 6, "seed": 0}
TOKENS = jax.random.randint(jax.random.key(0), (2, 3, 6), 0, 40)
TYPES = jnp.array(np.broadcast_to([0, 0, 0, 1, 1, 1], TOKENS.shape))
MASK = jnp.array(np.arange(6) < np.array([[[6], [4], [5]], [[3], [6], [6]]]))


def test_a_choice_is_scored_as_if_it_were_alone():
    model = make_multiple_choice(CONFIG, **SIZES)
    scores = jax.jit(model)(TOKENS, MASK, TYPES)
    assert scores.shape == (2, 3)
    alone = jax.jit(model.classifier)
    for k in range(3):
        rows = (x[:, k] for x in (TOKENS, MASK, TYPES))
        np.testing.assert_allclose(scores[:, k], alone(*rows)[:, 0], atol=1e-6)
    assert model.encoder is model.classifier.encoder


def test_best_window_counts_and_filling_does_not():
    scores = jax.random.normal(jax.random.key(1), (2, 4, 5))
    windows = jnp.array(np.arange(5) < np.array([[[1]] * 4, [[4]] * 4]))
    best = max_over_windows(scores, windows)
    np.testing.assert_array_equal(best[0], scores[0, :, 0])
    np.testing.assert_array_equal(best[1], scores[1, :, :4].max(axis=-1))
    gradient = jax.grad(lambda s: max_over_windows(s, windows).sum())(scores)
    assert gradient.sum() == 8
    assert not gradient[0, :, 1:].any()


def test_span_pair_is_cls_and_the_mean_states_of_both_spans():
    model = make_span_pair_classifier(CONFIG, num_outputs=3, **SIZES)
    tokens, mask, types = TOKENS[:, 0], MASK[:, 0], TYPES[:, 0]
    spans = jnp.array([[[1, 2], [3, 6]], [[0, 2], [2, 3]]])
    states = jax.jit(model.encoder)(tokens, mask, types)
    joined = jnp.stack(
        [
            jnp.concatenate([states[0, 0], states[0, 1], states[0, 3:6].mean(0)]),
            jnp.concatenate([states[1, 0], states[1, :2].mean(0), states[1, 2]]),
        ]
    )
    logits = jax.jit(model)(tokens, mask, types, spans)
    assert logits.shape == (2, 3)
    np.testing.assert_allclose(logits, model.out(joined), atol=1e-6)


def test_span_predictor_scores_real_tokens_and_padding_changes_nothing():
    model = make_span_predictor(CONFIG, **SIZES)
    tokens, mask, types = TOKENS[:, 1], MASK[:, 1], TYPES[:, 1]
    predict = jax.jit(model)
    start, end = predict(tokens, mask, types)
    states = jax.jit(model.encoder)(tokens, mask, types)
    expected = model.out(states)
    for side, logits in enumerate((start, end)):
        np.testing.assert_allclose(logits[mask], expected[mask][:, side], atol=1e-6)
        assert np.all(np.asarray(logits)[~np.asarray(mask)] == -1e9)
    other = jnp.where(mask, tokens, 7)
    for before, after in zip((start, end), predict(other, mask, types), strict=True):
        np.testing.assert_allclose(before, after, atol=1e-6)


def test_scores_are_float32_under_bfloat16():
    half = CONFIG | {"dtype": "bfloat16"}
    tokens, spans = TOKENS[:, 0], jnp.array([[[1, 2], [2, 3]]] * 2)
    classifier = make_span_pair_classifier(half, num_outputs=2, **SIZES)
    for model, arguments in (
        (make_multiple_choice(half, **SIZES), (TOKENS,)),
        (classifier, (tokens, None, None, spans)),
        (make_span_predictor(half, **SIZES), (tokens,)),
    ):
        shapes = jax.tree.leaves(jax.eval_shape(model, *arguments))
        assert {shape.dtype for shape in shapes} == {jnp.dtype("float32")}


def test_dropout_runs_with_a_key_alone():
    models = (
        (make_multiple_choice(CONFIG, **SIZES), (TOKENS,)),
        (
            make_span_pair_classifier(
                CONFIG | {"attention_dropout_rate": 0.0}, num_outputs=2, **SIZES
            ),
            (TOKENS[:, 0], None, None, jnp.array([[[1, 2], [2, 3]]] * 2)),
        ),
    )
    for model, arguments in models:
        run = jax.jit(
            lambda key, model=model, given=arguments: model(*given, rngs=nnx.Rngs(dropout=key))
        )
        first, same, other = (run(jax.random.key(seed)) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, same)
        assert np.abs(first - other).max() > 1e-3


def test_the_seed_decides_the_parameters():
    for make in (make_multiple_choice, make_span_predictor):
        first, same, other = (
            make(CONFIG, **SIZES | {"seed": seed}).encoder.tokens.embedding[...]
            for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, same)
        assert np.abs(first - other).max() > 0.01
