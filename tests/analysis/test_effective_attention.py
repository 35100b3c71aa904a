"""A head is attention with its effective matrix; the measures of a matrix are what they say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn import nonlinear_attention, nonlinearities
from hopfield_attn.analysis.effective_attention import attention_measures, effective_attention
from hopfield_attn.analysis.head_trace import trace_heads
from hopfield_attn.models.encoder import Encoder

X64 = pytest.mark.usefixtures("x64")


def random_projections(seed, n, m, d):
    rng = np.random.default_rng(seed)
    return (jnp.asarray(rng.normal(size=(rows, d))) for rows in (n, m, m))


@functools.partial(jax.jit, static_argnames=("coupling", "family", "num_steps", "is_stepped"))
def both(arrays, masks, alpha, lam, *, coupling, family, num_steps, is_stepped):
    """(the matrices, the layer's output) of one head."""
    options = {
        "nonlinearity": nonlinearities.make_nonlinearity(family, alpha),
        "coupling": coupling,
        "lam": lam,
        "num_steps": num_steps,
        "step_size": 0.3 if is_stepped else None,
    }
    batched = [array[None, :, None] for array in arrays]
    masked = {name: mask[None] for name, mask in masks.items()}
    out = nonlinear_attention(*batched, **masked, **options, implementation="autodiff")
    return effective_attention(*arrays, **masks, **options), out[0, :, 0]


@pytest.mark.parametrize(
    ("coupling", "family", "num_steps", "shape"),
    [
        ("pooled", "identity", 0, (1, 1, 1)),
        ("pooled", "log_cosh", 3, (4, 5, 3)),
        ("pooled", "exponential", 2, (3, 1, 2)),
        ("pairwise", "quadratic", 2, (4, 3, 3)),
        ("pairwise", "spline", 1, (2, 4, 1)),
    ],
)
@X64
@given(
    seed=st.integers(0, 2**16),
    alpha=st.floats(-0.5, 0.5),
    lam=st.floats(0, 3),
    is_stepped=st.booleans(),
)
def test_the_matrix_times_the_values_is_what_the_layer_puts_out(
    coupling, family, num_steps, shape, seed, alpha, lam, is_stepped
):
    n, m, d = shape
    rng = np.random.default_rng(seed)
    arrays = tuple(jnp.asarray(rng.normal(size=(rows, d))) for rows in (n, m, m))
    masks = {
        "query_mask": jnp.asarray(rng.random(n) > 0.3),
        "key_mask": jnp.asarray(rng.random(m) > 0.3),
    }
    kind = {"coupling": coupling, "family": family, "num_steps": num_steps}
    matrices, out = both(arrays, masks, alpha, lam, is_stepped=is_stepped, **kind)
    assert matrices.shape == (num_steps + 1, n, m)
    np.testing.assert_allclose(matrices[-1] @ arrays[2], out, rtol=1e-11, atol=1e-12)
    # Nothing comes from a masked token.
    assert np.all(np.asarray(matrices)[:, :, ~np.asarray(masks["key_mask"])] == 0)


@X64
def test_a_causal_pairwise_head_has_a_triangular_matrix():
    q, k, y = random_projections(0, 4, 4, 3)
    options = {"nonlinearity": nonlinearities.quadratic(0.4), "lam": 0.5, "num_steps": 3}
    matrix = effective_attention(q, k, y, coupling="pairwise", is_causal=True, **options)[-1]
    assert np.all(np.triu(matrix, 1) == 0)
    with pytest.raises(ValueError, match="cannot be causal"):
        effective_attention(q, k, y, coupling="pooled", is_causal=True, **options)


def test_elementwise_heads_are_refused_with_the_reason():
    q, k, y = random_projections(0, 2, 2, 2)
    with pytest.raises(ValueError, match="each feature of A y on its own"):
        effective_attention(
            q, k, y, nonlinearity=nonlinearities.identity(), coupling="elementwise", lam=1.0,
            num_steps=1,
        )  # fmt: skip


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_stable_rank_is_that_of_very_small_and_large_matrices(size):
    found = attention_measures(size * jnp.eye(2), jnp.eye(2))
    np.testing.assert_allclose(found.stable_rank, 2.0, rtol=1e-6)


@X64
def test_measures_of_matrices_with_known_values():
    uniform, one_hot = jnp.full((3, 4), 0.25), jnp.eye(3, 4)
    found = attention_measures(uniform, uniform)
    np.testing.assert_allclose(found.entropy, np.log(4), rtol=1e-14)
    np.testing.assert_allclose(
        [found.rank, found.stable_rank, found.distance], [1, 1, 0], atol=1e-14
    )
    found = attention_measures(one_hot, one_hot)
    np.testing.assert_allclose(found.entropy, 0, atol=1e-14)
    np.testing.assert_allclose([found.rank, found.stable_rank], [3, 3], rtol=1e-14)
    # Half of the weight is negative, the rows cancel.
    found = attention_measures(jnp.array([[1.0, -1.0]]), jnp.array([[1.0, 0.0]]))
    np.testing.assert_allclose([found.negative, found.row_sums[0], found.distance], [0.5, 0, 1])
    # A fully masked head has nothing, and no NaN.
    for value in attention_measures(jnp.zeros((2, 3)), jnp.zeros((2, 3))):
        assert np.all(np.asarray(value) == 0)


@pytest.mark.usefixtures("no_typechecker")
def test_matrices_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"weights must have shape \(n, m\) = \(1, 2\)"):
        attention_measures(jnp.ones((2, 2)), jnp.ones((1, 2)))


@pytest.fixture(scope="module")
def encoder():
    return Encoder(
        vocab_size=20, max_length=6, width=16, num_layers=2, num_heads=4, mlp_width=16,
        attention={"heads": "identity:1,quadratic:2,spline:1", "num_steps": 3, "alpha_init": 0.4},
        rngs=nnx.Rngs(params=0),
    )  # fmt: skip


@pytest.mark.slow
def test_a_traced_head_is_that_of_the_model(encoder):
    ids = [3, 1, 4, 1, 5]
    traces = trace_heads(encoder, ids, [(1, 2), (0, 0)], tokens=list("abcde"))
    assert [(t.layer, t.head, t.tokens[4]) for t in traces] == [(1, 2, "e"), (0, 0, "e")]
    trace = traces[0]
    assert trace.name == "layer 2, head 3: quadratic"
    assert trace.alpha == pytest.approx(0.4)
    x = encoder.layers[0](encoder.embed(jnp.array([ids])))
    groups = dict(encoder.layers[1].attention.descents(x))
    (descent,) = (d for group, d in groups.items() if group.family == "quadratic")
    np.testing.assert_allclose(trace.found.energies, descent.energies[0, 1], rtol=1e-5)
    np.testing.assert_allclose(trace.found.states[-1], descent.x[0, 1], rtol=1e-4, atol=1e-6)
    # q and k are those of the weights, and give the matrices again.
    matrices = effective_attention(
        trace.query, trace.key, trace.values, nonlinearity=trace.nonlinearity, **trace.options
    )
    np.testing.assert_allclose(matrices, trace.found.attention, rtol=1e-4, atol=1e-6)
    assert jax.tree.all(jax.tree.map(lambda a: np.all(np.isfinite(a)), trace.found))


def test_a_trace_is_that_of_its_token_types(encoder):
    ids, types = [3, 1, 4, 1], [0, 0, 1, 1]
    (trace,) = trace_heads(encoder, ids, [(0, 1)], token_types=types)
    x = encoder.embed(jnp.array([ids]), jnp.array([types]))
    inputs = encoder.layers[0].attention_input(x)
    problem = encoder.layers[0].attention.problems(inputs)[1]
    np.testing.assert_allclose(trace.weights, problem.weights[0, 0], rtol=1e-5, atol=1e-7)
    (other,) = trace_heads(encoder, ids, [(0, 1)])
    assert np.max(np.abs(other.weights - trace.weights)) > 1e-4
    with pytest.raises(ValueError, match="token_types must have shape"):
        trace_heads(encoder, ids, [(0, 1)], token_types=[0, 1])
    assert trace_heads(encoder, ids, []) == []


@pytest.mark.parametrize(("pair", "message"), [((2, 0), "layer must be"), ((0, 4), "head must be")])
def test_a_head_that_does_not_exist_is_named(encoder, pair, message):
    with pytest.raises(ValueError, match=message):
        trace_heads(encoder, [1, 2], [pair])


@pytest.mark.parametrize("lam", [0.5, "auto"])
def test_heads_of_one_shape_are_compiled_once(lam):
    traces = []

    def shape(u):
        traces.append(1)
        return jnp.sin(u)

    F = nonlinearities.as_nonlinearity(shape, curvature_range=(-1.0, 1.0))
    options = {"nonlinearity": F, "coupling": "pairwise", "num_steps": 2}
    effective_attention(*random_projections(0, 3, 4, 2), lam=lam, **options)
    count = len(traces)
    effective_attention(*random_projections(1, 3, 4, 2), lam=lam, **options)
    assert len(traces) == count > 0
