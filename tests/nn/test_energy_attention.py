import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hopfield_attn import nonlinear_attention, nonlinearities
from hopfield_attn.nn import EnergyAttention

WIDTH, HEADS = 16, 4
MASK = jnp.array([[True] * 6, [True] * 4 + [False] * 2])


def layer(heads="identity:2,quadratic:2", seed=0, **options):
    options = {"alpha_init": 0.5, "num_steps": 2} | options
    return EnergyAttention(WIDTH, HEADS, heads=heads, rngs=nnx.Rngs(params=seed), **options)


def inputs(seed=1, length=6):
    return jax.random.normal(jax.random.key(seed), (2, length, WIDTH))


def apply_to(attention):
    """The layer as a compiled function of its inputs, with the parameters it has at each call."""
    graphdef, _ = nnx.split(attention)

    @jax.jit
    def compiled(params, x):
        return nnx.merge(graphdef, params)(x, mask=MASK)

    return lambda x: compiled(nnx.to_pure_dict(nnx.split(attention)[1]), x)


def test_identity_layer_equals_flax_attention_with_the_same_weights():
    ours = layer("identity")
    theirs = nnx.MultiHeadAttention(
        HEADS, WIDTH, decode=False, deterministic=True, rngs=nnx.Rngs(0)
    )
    head_width = WIDTH // HEADS
    for name in ("query", "key", "value"):
        projection = getattr(ours, name)
        getattr(theirs, name).kernel[...] = projection.kernel[...].reshape(WIDTH, HEADS, head_width)
        getattr(theirs, name).bias[...] = projection.bias[...].reshape(HEADS, head_width)
    theirs.out.kernel[...] = ours.out.kernel[...].reshape(HEADS, head_width, WIDTH)
    theirs.out.bias[...] = ours.out.bias[...]
    x = inputs()
    expected = theirs(x, mask=MASK[:, None, None, :])
    np.testing.assert_allclose(ours(x, mask=MASK)[MASK], expected[MASK], atol=2e-6)


def test_each_group_of_heads_computes_its_own_nonlinearity():
    attention = layer("quadratic:1,identity:2,log_cosh:1", lam=0.5, gain=0.7)
    attention.out.kernel[...] = jnp.eye(WIDTH)
    x = inputs()
    out = attention(x, mask=MASK).reshape(2, 6, HEADS, -1)
    q, k, v = (
        getattr(attention, name)(x).reshape(2, 6, HEADS, -1) for name in ("query", "key", "value")
    )
    families = ("quadratic", "identity", "identity", "log_cosh")
    for head, family in enumerate(families):
        one = slice(head, head + 1)
        expected = nonlinear_attention(
            q[:, :, one],
            k[:, :, one],
            v[:, :, one],
            nonlinearity=nonlinearities.make_nonlinearity(family, 0.5),
            lam=0.5,
            num_steps=2,
            gain=0.7,
            query_mask=MASK,
            key_mask=MASK,
        )
        np.testing.assert_allclose(out[:, :, one], expected, atol=1e-6)


FAMILIES_WITH_ALPHA = ("quadratic:1,cubic:1,exponential:1,log_cosh:1", "identity:1,spline:3")


@pytest.mark.parametrize("heads", FAMILIES_WITH_ALPHA)
@pytest.mark.parametrize("coupling", ["pooled", "pairwise", "elementwise"])
def test_at_alpha_zero_a_nonlinear_layer_is_the_linear_one(heads, coupling):
    linear = layer("identity")
    options = {"alpha_init": 0.0, "coupling": coupling, "num_steps": 3, "lam": 0.3}
    mixed = apply_to(layer(heads, **options))
    np.testing.assert_allclose(mixed(inputs()), linear(inputs(), mask=MASK), atol=1e-6)


def test_every_mix_of_heads_has_the_same_parameters():
    def described(heads):
        state = nnx.to_pure_dict(nnx.state(layer(heads, alpha_init=0.0), nnx.Param))
        return state

    for heads in ("quadratic", "exp:1,identity:3", "square"):
        jax.tree.map(np.testing.assert_array_equal, described(heads), described("identity"))


def test_alpha_learns_in_nonlinear_heads_only():
    attention = layer("identity:2,quadratic:1,square:1")
    graphdef, params = nnx.split(attention)
    pure = nnx.to_pure_dict(params)
    loss = jax.jit(jax.grad(lambda p: jnp.sum(nnx.merge(graphdef, p)(inputs()) ** 2)))
    grads = loss(pure)
    assert np.all((np.asarray(grads["alpha"]) != 0) == [False, False, True, False])
    np.testing.assert_array_equal(pure["alpha"], [0, 0, 0.5, 0])


def test_spline_heads_bring_their_splines_and_learn_them():
    attention = layer("identity:1,spline:2,quadratic:1", num_steps=3)
    graphdef, params = nnx.split(attention)
    pure = nnx.to_pure_dict(params)
    assert pure["spline_values"].shape == (HEADS, 9)
    loss = jax.jit(jax.grad(lambda p: jnp.sum(nnx.merge(graphdef, p)(3 * inputs()) ** 2)))
    grads = loss(pure)
    learns = np.any(np.asarray(grads["spline_values"]) != 0, axis=1)
    np.testing.assert_array_equal(learns, [False, True, True, False])
    np.testing.assert_array_equal(np.asarray(grads["alpha"]) != 0, [False, True, True, True])
    # Each head reads its own row.
    apply = apply_to(attention)
    before = apply(inputs())
    attention.spline_values[...] = attention.spline_values[...].at[0].set(5.0).at[3].set(5.0)
    np.testing.assert_array_equal(apply(inputs()), before)
    attention.spline_values[...] = attention.spline_values[...].at[2].mul(2.0)
    assert np.abs(apply(inputs()) - before).max() > 1e-4


def test_auto_lambda_and_step_reach_the_heads_and_are_reported():
    attention = layer("quadratic", lam="auto", step_size="auto", alpha_init=4.0, num_steps=20)
    graphdef, params = nnx.split(attention)

    @jax.jit
    def follow(params, x):
        layer = nnx.merge(graphdef, params)
        return [found for _, found in layer.descents(x, mask=MASK)], layer(x, mask=MASK)

    (descent,), out = follow(params, 10 * inputs())
    assert descent.lam.shape == descent.step_size.shape == (2, HEADS)
    assert np.all(descent.lam > 0)
    assert np.all(descent.status == 0)
    assert np.all(np.isfinite(out))


@pytest.mark.parametrize("mode", ["rematerialised", "implicit"])
def test_gradient_modes_reach_the_heads(mode):
    def grads(gradient_mode):
        # So many steps that the implicit gradient is that of the last one, in float32.
        options = {"gradient_mode": gradient_mode, "num_steps": 80, "alpha_init": -0.5}
        graphdef, params = nnx.split(layer("quadratic", **options))
        loss = jax.jit(jax.grad(lambda p: jnp.sum(nnx.merge(graphdef, p)(inputs()) ** 3)))
        return loss(nnx.to_pure_dict(params))

    for ours, expected in zip(
        jax.tree.leaves(grads(mode)), jax.tree.leaves(grads("unrolled")), strict=True
    ):
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(ours, expected, atol=2e-3 * scale + 1e-5)


def test_cross_attention_reads_the_context_and_its_mask():
    attention = layer(coupling="pairwise")
    x, context = inputs(), inputs(seed=2, length=6)
    out = attention(x, context, mask=jnp.ones((2, 6), bool), context_mask=MASK)
    changed = context.at[1, 4:].set(99.0)
    np.testing.assert_array_equal(out, attention(x, changed, context_mask=MASK))
    changed = context.at[1, 3].set(99.0)
    assert np.abs(out[1] - attention(x, changed, context_mask=MASK)[1]).max() > 1e-3


def test_causal_layers_work_unless_a_head_is_pooled():
    x = inputs()
    attention = layer(coupling="pairwise")
    out = attention(x, is_causal=True)
    later = attention(x.at[:, 4:].set(3.0), is_causal=True)
    np.testing.assert_array_equal(out[:, :4], later[:, :4])
    with pytest.raises(ValueError, match="pooled coupling cannot be causal"):
        layer()(x, is_causal=True)


def test_dropout_runs_only_with_rngs_and_depends_on_the_key_alone():
    attention = layer(dropout_rate=0.5)
    x = inputs()
    np.testing.assert_array_equal(attention(x), attention(x))
    first, again, other = (attention(x, rngs=nnx.Rngs(dropout=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert np.abs(first - attention(x)).max() > 1e-3


def test_descents_follow_the_nonlinear_heads():
    attention = layer("identity:1,quadratic:2,log_cosh:1", num_steps=3)
    found = attention.descents(inputs(), mask=MASK)
    assert [(group.family, group.start, group.stop) for group, _ in found] == [
        ("quadratic", 1, 3),
        ("log_cosh", 3, 4),
    ]
    assert found[0][1].energies.shape == (2, 2, 4)
    assert np.all(found[0][1].energies[..., -1] < found[0][1].energies[..., 0])


def test_bfloat16_computation_keeps_float32_parameters():
    attention = layer(dtype=jnp.bfloat16)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(nnx.state(attention)))
    out = attention(inputs())
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), layer()(inputs()), atol=0.05)


def test_jit_equals_eager():
    attention = layer()
    graphdef, params = nnx.split(attention)

    @jax.jit
    def compiled(params, x):
        return nnx.merge(graphdef, params)(x, mask=MASK)

    np.testing.assert_allclose(
        compiled(params, inputs()), attention(inputs(), mask=MASK), atol=1e-6
    )


def test_a_width_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="divisible by num_heads; got 16 and 3"):
        EnergyAttention(16, 3, rngs=nnx.Rngs(0))


def test_linear_heads_take_no_steps():
    def size(heads):
        graphdef, params = nnx.split(layer(heads))
        forward = functools.partial(lambda p, x: nnx.merge(graphdef, p)(x))
        return jax.jit(forward).lower(params, inputs()).as_text().count("stablehlo.while")

    assert size("identity") == 0
    assert size("quadratic") > 0


@pytest.mark.core
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"lam": -1.0}, ValueError, "lam must be >= 0"),
        ({"step_size": "atuo"}, ValueError, "step_size must be a number or 'auto'"),
        ({"gain": 0.0}, ValueError, "gain must be > 0"),
        ({"num_steps": 1.5}, TypeError, "num_steps must be an int"),
        ({"gradient_mode": "bogus"}, ValueError, "bogus"),
        ({"dropout_rate": 2.0}, ValueError, r"dropout_rate must be in \[0, 1\)"),
    ],
)
@pytest.mark.parametrize("heads", ["identity", "quadratic"])
@pytest.mark.usefixtures("no_typechecker")
def test_options_that_no_head_can_have_are_refused_at_once(heads, options, error, words):
    with pytest.raises(error, match=words):
        layer(heads, **options)


@pytest.mark.core
def test_no_heads_and_a_mask_of_no_context_are_refused():
    with pytest.raises(ValueError, match="num_heads must be >= 1; got 0"):
        EnergyAttention(WIDTH, 0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="context_mask is of a context, and none was given"):
        layer()(inputs(), context_mask=MASK)
