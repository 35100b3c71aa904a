import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hopfield_attn import attention_descent, nonlinear_attention, nonlinearities
from hopfield_attn.ops.standard import standard_attention
from hopfield_attn.ops.weights import attention_weights
from tests import oracles

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.core]

SHAPES = ((1, 3, 3, 1, 2), (2, 4, 6, 2, 3), (2, 5, 2, 3, 4))
"""(b, n, m, h, d): few, because each one compiles."""

attend = jax.jit(
    nonlinear_attention,
    static_argnames=("coupling", "num_steps", "is_causal", "implementation", "dropout_rate"),
)

solve = jax.jit(attention_descent, static_argnames=("coupling", "num_steps", "dropout_rate"))


def arrays(shape, seed=0, dtype=np.float64):
    b, n, m, h, d = shape
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(b, length, h, d)) for length in (n, m, m))
    masks = [jnp.asarray(rng.random((b, length)) < 0.7) for length in (n, m)]
    return [jnp.asarray(a, dtype) for a in (q, k, v)], *masks


def pair_mask(query_mask, key_mask, example, is_causal=False):
    mask = np.outer(query_mask[example], key_mask[example])
    return np.tril(mask) if is_causal else mask


def looped(q, k, v, query_mask, key_mask, *, is_causal=False, alphas, num_steps, **options):
    """The oracle for every head of every example, one at a time."""
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    out = np.zeros((*q.shape[:3], v.shape[-1]))
    for i in range(q.shape[0]):
        for j in range(q.shape[2]):
            mask = pair_mask(query_mask, key_mask, i, is_causal)
            weights = oracles.softmax_weights(q[i, :, j], k[i, :, j], mask)
            # A padded key is no key: its value has no part, whatever F does.
            y = v[i, :, j] * np.asarray(key_mask)[i][:, None]
            out[i, :, j] = oracles.descend(
                y, weights, num_steps=num_steps, alpha=alphas[j], **options
            )
    return out


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@given(
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 1000),
    lam=st.sampled_from([0.0, 0.5, 8.0]),
    num_steps=st.sampled_from([1, 3]),
)
def test_identity_heads_are_softmax_attention(coupling, shape, seed, lam, num_steps):
    qkv, query_mask, key_mask = arrays(shape, seed)
    options = {"coupling": coupling, "lam": lam, "num_steps": num_steps}
    out = attend(
        *qkv,
        nonlinearity=nonlinearities.identity(),
        query_mask=query_mask,
        key_mask=key_mask,
        **options,
    )
    options = {"name": "identity", "gain": 1.0, "step_size": 1 / (1 + lam), **options}
    expected = looped(*qkv, query_mask, key_mask, alphas=np.zeros(shape[3]), **options)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    standard = standard_attention(*qkv, query_mask=query_mask, key_mask=key_mask)
    np.testing.assert_allclose(standard, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["quadratic", "cubic", "exponential", "log_cosh", "square", "exp"])
@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_batch_of_heads_equals_the_numpy_loop_over_heads(name, coupling):
    shape, num_steps, lam = (2, 4, 6, 2, 3), 3, 0.5
    qkv, query_mask, key_mask = arrays(shape, seed=3)
    alphas = np.array([-0.4, 0.3])
    out = attend(
        *qkv,
        nonlinearity=nonlinearities.make_nonlinearity(name, jnp.asarray(alphas)),
        coupling=coupling,
        lam=lam,
        num_steps=num_steps,
        step_size=0.3,
        gain=0.5,
        query_mask=query_mask,
        key_mask=key_mask,
    )
    options = {"name": name, "coupling": coupling, "lam": lam, "gain": 0.5, "step_size": 0.3}
    expected = looped(*qkv, query_mask, key_mask, alphas=alphas, num_steps=num_steps, **options)
    np.testing.assert_allclose(out, expected, rtol=1e-11, atol=1e-12)


def test_defaults_are_gain_one_over_width_and_step_one_over_one_plus_lambda():
    shape = (2, 4, 6, 2, 3)
    qkv, query_mask, key_mask = arrays(shape)
    everything = jnp.ones_like(query_mask), jnp.ones_like(key_mask)
    out = attend(*qkv, nonlinearity=nonlinearities.quadratic(0.8), lam=2.0, num_steps=2)
    options = {"name": "quadratic", "coupling": "pooled", "lam": 2.0}
    expected = looped(
        *qkv, *everything, alphas=[0.8, 0.8], num_steps=2, step_size=1 / 3, gain=1 / 3, **options
    )
    np.testing.assert_allclose(out, expected, rtol=1e-12)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_batched_equals_vmapped_equals_looped(coupling):
    (q, k, v), query_mask, key_mask = arrays((3, 4, 5, 2, 3), seed=5)
    options = {
        "nonlinearity": nonlinearities.exponential(0.2),
        "coupling": coupling,
        "lam": 0.4,
        "num_steps": 2,
    }

    @jax.jit
    def one(q, k, v, query_mask, key_mask):
        masks = {"query_mask": query_mask[None], "key_mask": key_mask[None]}
        return nonlinear_attention(q[None], k[None], v[None], **masks, **options)[0]

    batched = attend(q, k, v, query_mask=query_mask, key_mask=key_mask, **options)
    masks = query_mask, key_mask
    np.testing.assert_allclose(jax.vmap(one)(q, k, v, *masks), batched, rtol=1e-13, atol=1e-15)
    for i in range(3):
        example = one(q[i], k[i], v[i], masks[0][i], masks[1][i])
        np.testing.assert_allclose(example, batched[i], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@given(seed=st.integers(0, 1000), padding=st.sampled_from([(3, 0), (0, 2), (3, 2)]))
@example(seed=190, padding=(3, 0))  # a pooled head that diverges
def test_appended_padding_changes_no_real_output(coupling, seed, padding):
    (q, k, v), _, _ = arrays((2, 4, 5, 2, 3), seed)
    rng = np.random.default_rng(seed)

    def pad(array, number):
        junk = 100 * rng.normal(size=(array.shape[0], number, *array.shape[2:]))
        return jnp.concatenate([array, junk], axis=1)

    def mask(array, number):
        return jnp.arange(array.shape[1] + number)[None].repeat(2, 0) < array.shape[1]

    options = {
        "nonlinearity": nonlinearities.exponential(0.3),
        "coupling": coupling,
        "lam": 0.5,
        "num_steps": 3,
    }
    plain = attend(q, k, v, **options)
    padded = attend(
        pad(q, padding[0]),
        pad(k, padding[1]),
        pad(v, padding[1]),
        query_mask=mask(q, padding[0]),
        key_mask=mask(k, padding[1]),
        **options,
    )
    np.testing.assert_allclose(padded[:, :4], plain, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(padded[:, 4:], 0)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_one_example_never_changes_another(coupling):
    (q, k, v), query_mask, key_mask = arrays((2, 4, 5, 2, 3))
    options = {
        "nonlinearity": nonlinearities.quadratic(0.4),
        "coupling": coupling,
        "lam": 0.5,
        "num_steps": 3,
        "query_mask": query_mask,
        "key_mask": key_mask,
    }
    before = attend(q, k, v, **options)
    after = attend(q.at[1].set(jnp.nan), k.at[1].mul(7), v.at[1].set(jnp.inf), **options)
    np.testing.assert_array_equal(before[0], after[0])


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@pytest.mark.parametrize(
    "name", ["quadratic", "square", pytest.param("exponential", marks=pytest.mark.slow)]
)
def test_fully_masked_rows_give_zeros_and_finite_gradients(coupling, name):
    (q, k, v), query_mask, key_mask = arrays((2, 4, 5, 2, 3))
    key_mask = key_mask.at[1].set(False)
    query_mask = query_mask.at[0].set(jnp.array([True, False, True, False]))

    @jax.jit
    def out(q, k, v, alpha):
        return nonlinear_attention(
            q,
            k,
            v,
            nonlinearity=nonlinearities.make_nonlinearity(name, alpha),
            coupling=coupling,
            lam=0.5,
            num_steps=2,
            query_mask=query_mask,
            key_mask=key_mask,
        )

    value = out(q, k, v, 0.3)
    np.testing.assert_array_equal(value[1], 0)
    np.testing.assert_array_equal(value[0, ~query_mask[0]], 0)
    grads = jax.grad(lambda *a: jnp.sum(jnp.sin(out(*a))), argnums=(0, 1, 2, 3))(q, k, v, 0.3)
    assert all(np.all(np.isfinite(grad)) for grad in grads)
    np.testing.assert_array_equal(grads[0][1], 0)
    descent = solve(
        q,
        k,
        v,
        nonlinearity=nonlinearities.make_nonlinearity(name, 0.3),
        coupling=coupling,
        lam=0.5,
        num_steps=2,
        key_mask=key_mask,
    )
    np.testing.assert_array_equal(descent.energies[1], 0)


@pytest.mark.parametrize("coupling", ["pairwise", "elementwise"])
@pytest.mark.parametrize("name", ["quadratic", "exponential"])
def test_a_later_token_has_exactly_no_influence_in_causal_attention(coupling, name):
    (q, k, v), _, _ = arrays((1, 5, 5, 2, 3))

    @jax.jit
    def out(q, k, v):
        return nonlinear_attention(
            q,
            k,
            v,
            nonlinearity=nonlinearities.make_nonlinearity(name, 0.4),
            coupling=coupling,
            lam=0.5,
            num_steps=3,
            is_causal=True,
        )[0]

    jacobians = jax.jit(jax.jacrev(out, argnums=(0, 1, 2)))(q, k, v)
    for jacobian in jacobians:
        influence = np.abs(jacobian).sum(axis=(1, 2, 3, 5, 6))
        assert np.all(np.triu(influence, 1) == 0)
        assert np.all(np.diag(influence)[1:] > 0)


def test_pooled_causal_is_refused_with_the_reason():
    (q, k, v), _, _ = arrays((1, 5, 5, 2, 3))
    with pytest.raises(ValueError, match="pooled coupling cannot be causal.*coupling='pairwise'"):
        nonlinear_attention(q, k, v, nonlinearity=jnp.tanh, lam=0.0, num_steps=1, is_causal=True)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_float32_and_bfloat16_agree_to_their_rounding(coupling):
    shape = (2, 16, 16, 2, 8)
    exact, query_mask, key_mask = arrays(shape, seed=7)
    options = {
        "nonlinearity": nonlinearities.quadratic(0.3),
        "coupling": coupling,
        "lam": 1.0,
        "num_steps": 3,
        "query_mask": query_mask,
        "key_mask": key_mask,
    }
    for dtype, tolerance in ((jnp.float32, 1e-5), (jnp.bfloat16, 2**-8), (jnp.float16, 2**-10)):
        rounded = [a.astype(dtype) for a in exact]
        reference = attend(*[a.astype(jnp.float64) for a in rounded], **options)
        out = attend(*rounded, **options)
        assert out.dtype == dtype
        error = np.abs(np.asarray(out, np.float64) - reference).max()
        assert error <= tolerance * max(1.0, float(np.abs(reference).max()))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_logits_of_ten_thousand_stay_finite(dtype):
    (q, k, v), query_mask, key_mask = arrays((1, 4, 4, 1, 4), dtype=np.float32)
    big = [(a * 150).astype(dtype) for a in (q, k)]
    weights = attention_weights(*big, key_mask=key_mask)
    assert np.abs(np.einsum("bnhd,bmhd->bhnm", *[np.asarray(a, float) for a in big])).max() > 1e4

    @jax.jit
    def total(q, k, v):
        options = {"nonlinearity": nonlinearities.quadratic(0.3), "lam": 1.0, "num_steps": 2}
        out = nonlinear_attention(q, k, v, key_mask=key_mask, **options)
        return jnp.sum(out.astype(jnp.float32))

    assert np.all(np.isfinite(weights))
    grads = jax.grad(total, argnums=(0, 1, 2))(*big, v.astype(dtype))
    assert all(np.all(np.isfinite(np.asarray(grad, float))) for grad in grads)


def test_zero_steps_and_infinite_lambda_are_plain_attention():
    (q, k, v), _, _ = arrays((2, 4, 6, 2, 3))
    plain = standard_attention(q, k, v)
    options = {"nonlinearity": nonlinearities.quadratic(0.5)}
    np.testing.assert_allclose(attend(q, k, v, lam=0.5, num_steps=0, **options), plain, rtol=1e-13)
    distances = [
        np.linalg.norm(attend(q, k, v, lam=lam, num_steps=50, **options) - plain)
        for lam in (1e3, 1e4)
    ]
    np.testing.assert_allclose(distances[0] / distances[1], 10, rtol=0.01)


def test_dropout_is_drawn_once_so_that_the_energy_still_falls():
    (q, k, v), _, _ = arrays((1, 6, 6, 2, 3))
    options = {"nonlinearity": nonlinearities.quadratic(0.2), "lam": 1.0}
    options |= {"dropout_rate": 0.4, "dropout_key": jax.random.key(3)}
    descent = solve(q, k, v, num_steps=8, step_size=0.2, **options)
    assert np.all(np.diff(descent.energies, axis=-1) < 0)
    again = solve(q, k, v, num_steps=8, step_size=0.2, **options)
    np.testing.assert_array_equal(descent.x, again.x)
    options["dropout_key"] = jax.random.key(4)
    other = solve(q, k, v, num_steps=8, step_size=0.2, **options)
    assert np.abs(descent.x - other.x).max() > 1e-3


def test_dropout_keeps_the_expected_output():
    (q, k, v), _, _ = arrays((1, 4, 5, 1, 3))
    keys = jax.random.split(jax.random.key(0), 4000)
    outputs = jax.vmap(lambda key: standard_attention(q, k, v, dropout_rate=0.3, dropout_key=key))(
        keys
    )
    np.testing.assert_allclose(outputs.mean(0), standard_attention(q, k, v), atol=0.05)


def test_energies_of_a_descent_are_those_of_its_heads():
    (q, k, v), _, _ = arrays((2, 4, 6, 2, 3))
    options = {"lam": 0.5, "gain": 0.4, "coupling": "pairwise"}
    alphas = jnp.array([0.3, -0.2])
    descent = solve(q, k, v, nonlinearity=nonlinearities.quadratic(alphas), num_steps=3, **options)
    assert descent.energies.shape == (2, 2, 4)
    weights = oracles.softmax_weights(np.asarray(q[1, :, 1]), np.asarray(k[1, :, 1]))
    y = np.asarray(v[1, :, 1])
    expected = oracles.energy(
        np.asarray(descent.x[1, 1]), y, weights, name="quadratic", alpha=-0.2, **options
    )
    np.testing.assert_allclose(descent.energies[1, 1, -1], expected, rtol=1e-12)


def test_the_program_does_not_grow_with_the_number_of_steps():
    (q, k, v), _, _ = arrays((1, 4, 4, 1, 3))

    def program(num_steps):
        attend_fn = functools.partial(
            nonlinear_attention, nonlinearity=jnp.tanh, lam=1.0, num_steps=num_steps
        )
        return jax.jit(jax.grad(lambda *a: attend_fn(*a).sum())).lower(q, k, v).as_text()

    assert program(3).count("\n") == program(40).count("\n")


@pytest.mark.usefixtures("no_typechecker")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"key": jnp.ones((2, 5, 3, 4))}, ValueError, r"key must have shape .*\(2, 5, 2, 4\)"),
        ({"value": jnp.ones((2, 6, 2, 4))}, ValueError, "value must have shape"),
        ({"query": jnp.ones((2, 4, 2))}, ValueError, r"query must have shape \(batch, length"),
        ({"query": jnp.ones((2, 4, 2, 4), int)}, TypeError, "query must be a floating-point"),
        ({"key_mask": jnp.ones((2, 5))}, TypeError, "key_mask must be boolean"),
        ({"query_mask": jnp.ones((2, 5), bool)}, ValueError, r"query_mask .*= \(2, 4\)"),
        ({"coupling": "pairwize"}, ValueError, "did you mean 'pairwise'"),
        ({"implementation": "dua1"}, ValueError, "implementation must be one of 'autodiff'"),
        ({"num_steps": -1}, ValueError, "num_steps must be >= 0"),
        ({"step_size": 0.0}, ValueError, "step_size must be > 0"),
        ({"lam": -1.0}, ValueError, "lam must be >= 0"),
        ({"dropout_rate": 1.0}, ValueError, r"dropout_rate must be in \[0, 1\)"),
        ({"dropout_rate": 0.1}, ValueError, "needs a PRNG key"),
        (
            {"nonlinearity": nonlinearities.quadratic(jnp.ones(3))},
            ValueError,
            r"one entry a head, shape \(2,\); got \(3,\)",
        ),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    arguments = {
        "query": jnp.ones((2, 4, 2, 4)),
        "key": jnp.ones((2, 5, 2, 4)),
        "value": jnp.ones((2, 5, 2, 4)),
        "nonlinearity": nonlinearities.identity(),
        "lam": 1.0,
        "num_steps": 1,
    }
    with pytest.raises(error, match=message):
        nonlinear_attention(**(arguments | change))
