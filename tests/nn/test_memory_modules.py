import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hopfield_attn.nn import (
    EnergyAttention,
    EnergyTransformerBlock,
    HopfieldLookup,
    HopfieldPooling,
    HopfieldRetrieval,
)
from hopfield_attn.ops.retrieve import retrieve
from hopfield_attn.solvers.descent import FELL
from tests import memory_oracles as oracles

WIDTH, HEADS = 12, 3
MASK = jnp.array([[True] * 6, [True] * 4 + [False] * 2])
STORED_MASK = jnp.array([[True] * 5, [True] * 2 + [False] * 3])


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def rngs(seed=0):
    return nnx.Rngs(params=seed)


def as_attention(seed=0, **options):
    options = {"num_heads": HEADS, "project": True, "normalize": False, "num_steps": 1} | options
    return HopfieldRetrieval(WIDTH, rngs=rngs(seed), **options)


def run(module, *arrays, method="__call__", **masks):
    """The module's method, compiled."""
    graphdef, params = nnx.split(module)

    @jax.jit
    def compiled(params, arrays, masks):
        return getattr(nnx.merge(graphdef, params), method)(*arrays, **masks)

    return compiled(params, arrays, masks)


def params_of(module):
    return nnx.to_pure_dict(nnx.state(module, nnx.Param))


@pytest.mark.parametrize("width", [32, 128])
def test_a_default_retrieval_returns_the_stored_pattern(width):
    retrieval = HopfieldRetrieval(width, rngs=rngs())
    call = jax.jit(lambda noisy, stored: retrieval(noisy, stored))
    for seed in range(10):
        stored = normal(seed, 32, width)
        noisy = stored + 0.3 * normal(100 + seed, 32, width)
        np.testing.assert_allclose(call(noisy, stored), stored, atol=1e-2)
    scaled = call(100 * noisy, 7 * stored)
    np.testing.assert_allclose(scaled, 7 * stored, atol=0.1)


def test_projected_retrieval_of_one_step_is_the_linear_attention_layer():
    retrieval = as_attention()
    attention = EnergyAttention(WIDTH, HEADS, rngs=rngs(1))
    for name in ("query", "key", "value", "out"):
        for array in ("kernel", "bias"):
            weights = getattr(getattr(retrieval, name), array)[...]
            getattr(getattr(attention, name), array)[...] = weights
    x, stored = normal(0, 2, 6, WIDTH), normal(1, 2, 5, WIDTH)
    np.testing.assert_allclose(
        run(retrieval, x, stored, mask=STORED_MASK),
        run(attention, x, stored, context_mask=STORED_MASK),
        atol=2e-6,
    )


@pytest.mark.parametrize("energy", ["softmax1", "dense_polynomial", "epanechnikov"])
def test_each_head_retrieves_from_its_part_with_its_own_beta(energy):
    retrieval = HopfieldRetrieval(WIDTH, num_heads=HEADS, energy=energy, rngs=rngs())
    betas = jnp.array([0.5, 1.0, 2.0])
    retrieval.log_beta[...] = jnp.log(betas)
    x, stored = normal(0, 2, 6, WIDTH), normal(1, 2, 5, WIDTH)
    out = run(retrieval, x, stored, mask=STORED_MASK)

    @jax.jit
    def head(x, stored, beta):
        options = {"energy": energy, "num_steps": 3, "mask": STORED_MASK, "normalize": True}
        return retrieve(x, stored, values=stored, beta=beta, **options)

    for beta, part in zip(betas, np.split(np.arange(WIDTH), HEADS), strict=True):
        expected = head(x[..., part], stored[..., part], beta)
        np.testing.assert_allclose(out[..., part], expected, rtol=1e-5, atol=1e-6)


def test_beta_has_one_parameter_a_head_and_learns():
    retrieval = as_attention(num_steps=3)
    np.testing.assert_allclose(np.exp(retrieval.log_beta[...]), np.full(3, 0.5), rtol=1e-6)
    graphdef, params = nnx.split(retrieval)
    x, stored = normal(0, 2, 6, WIDTH), normal(1, 2, 5, WIDTH)

    @jax.jit
    def loss(pure):
        return jnp.sum(nnx.merge(graphdef, pure)(x, stored) ** 2)

    grads = jax.grad(loss)(nnx.to_pure_dict(params))
    assert grads["log_beta"].shape == (HEADS,)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(grads))
    assert set(params_of(HopfieldRetrieval(WIDTH, rngs=rngs()))) == {"log_beta"}


def test_the_descent_of_a_layer_falls_and_weighs_the_stored_patterns():
    retrieval = as_attention(num_steps=4, energy="fenchel_young", parameters={"alpha": 2.0})
    x, stored = normal(0, 2, 6, WIDTH), normal(1, 2, 5, WIDTH)
    found = run(retrieval, x, stored, method="descent", mask=STORED_MASK)
    assert found.energies.shape == (2, HEADS, 6, 4)
    assert found.weights.shape == (2, HEADS, 6, 5)
    assert np.all(found.status == FELL)
    assert np.all(np.diff(found.energies) <= 1e-5)
    np.testing.assert_allclose(found.weights.sum(axis=-1), 1, rtol=1e-6)
    assert not np.any(found.weights[1, ..., 2:])


def test_leading_axes_are_free_and_stored_patterns_may_be_shared():
    retrieval = HopfieldRetrieval(WIDTH, num_heads=HEADS, rngs=rngs())
    x, stored = normal(0, 2, 6, WIDTH), normal(1, 5, WIDTH)
    batched = run(retrieval, x, stored)
    np.testing.assert_allclose(batched[1], run(retrieval, x[1], stored), atol=1e-6)


def test_a_fully_masked_memory_retrieves_zero():
    retrieval = HopfieldRetrieval(WIDTH, rngs=rngs())
    stored, nothing = normal(1, 2, 5, WIDTH), jnp.zeros((2, 5), bool)
    assert not np.any(run(retrieval, normal(0, 2, 6, WIDTH), stored, mask=nothing))


def test_pooling_ignores_padding_and_summarises_each_sequence():
    pooling = HopfieldPooling(WIDTH, num_queries=2, num_heads=HEADS, num_steps=3, rngs=rngs())
    x = normal(0, 2, 6, WIDTH)
    out = run(pooling, x, mask=MASK)
    assert out.shape == (2, 2, WIDTH)
    np.testing.assert_array_equal(out, run(pooling, x.at[1, 4:].set(99.0), mask=MASK))
    np.testing.assert_allclose(out[1], run(pooling, x[1, :4]), atol=1e-6)
    expected = run(pooling.retrieval, pooling.queries[...], x, mask=MASK)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert params_of(pooling)["queries"].shape == (2, WIDTH)


def test_lookup_returns_a_learned_memory_to_who_asks_for_it():
    lookup = HopfieldLookup(
        32, num_memories=20, project=False, normalize=True, num_steps=3, rngs=rngs()
    )
    memories = lookup.memories[...]
    np.testing.assert_allclose(run(lookup, memories + 0.1), memories, atol=1e-2)
    learned = HopfieldLookup(WIDTH, num_memories=7, num_heads=HEADS, rngs=rngs())
    x = normal(0, 2, 6, WIDTH)
    expected = run(learned.retrieval, x, learned.memories[...])
    np.testing.assert_allclose(run(learned, x), expected, atol=1e-6)


def test_bfloat16_inputs_give_bfloat16_outputs_and_float32_parameters():
    x, stored = normal(0, 2, 6, WIDTH), normal(1, 2, 5, WIDTH)
    low = [a.astype(jnp.bfloat16) for a in (x, stored)]
    for module, arguments, exact in (
        (as_attention(dtype=jnp.bfloat16), low, run(as_attention(), x, stored)),
        (HopfieldPooling(WIDTH, rngs=rngs()), low[:1], None),
        (block(), low[:1], run(block(), x)),
    ):
        out = run(module, *arguments)
        assert out.dtype == jnp.bfloat16
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params_of(module)))
        if exact is not None:
            np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.05)


def block(seed=0, **options):
    """A block whose projections are large enough to matter."""
    options = {"num_steps": 4, "num_memories": 20} | options
    module = EnergyTransformerBlock(WIDTH, HEADS, rngs=rngs(seed), **options)
    for name in ("query", "key", "memories"):
        getattr(module, name)[...] = 10 * getattr(module, name)[...]
    return module


@pytest.mark.parametrize("include_self", [False, True])
def test_the_block_takes_the_published_steps(include_self):
    module = block(include_self=include_self)
    module.bias[...] = 0.1 * normal(3, WIDTH)
    module.log_scale[...] = jnp.array(0.2)
    x = np.asarray(normal(0, 2, 6, WIDTH), np.float64)
    out, energies = run(module, jnp.asarray(x, jnp.float32), mask=MASK), []
    wq, wk, memories, bias = (
        np.asarray(getattr(module, name)[...], np.float64)
        for name in ("query", "key", "memories", "bias")
    )
    for example in range(2):
        for _ in range(4):
            g = oracles.layer_norm(x[example], np.exp(0.2), bias, 1e-5)
            energy, grad = oracles.energy_transformer(
                g,
                wq,
                wk,
                memories,
                beta=np.full(HEADS, 0.5),
                mask=np.asarray(MASK[example]),
                include_self=include_self,
            )
            energies.append(energy)
            x[example] -= 0.1 * grad
    np.testing.assert_allclose(out, x, atol=1e-4)
    found = run(module, normal(0, 2, 6, WIDTH), method="energies", mask=MASK)
    np.testing.assert_allclose(found[:, :-1].ravel(), energies, rtol=1e-4)


def test_the_energy_of_the_block_falls_at_every_step():
    x = 3 * normal(0, 2, 6, WIDTH)
    energies = np.asarray(run(block(num_steps=30), x, method="energies", mask=MASK))
    assert energies.shape == (2, 31)
    assert np.all(np.diff(energies) < 1e-5 * np.abs(energies[:, :1]))
    assert np.all(energies[:, -1] < energies[:, 0] - 1)


def test_padding_moves_no_token_of_the_block_and_does_not_move():
    module, x = block(), normal(0, 2, 6, WIDTH)
    out = run(module, x, mask=MASK)
    changed = x.at[1, 4:].set(-5.0).at[1, 5, 0].set(3.0)
    np.testing.assert_array_equal(out[MASK], run(module, changed, mask=MASK)[MASK])
    np.testing.assert_array_equal(out[1, 4:], x[1, 4:])
    np.testing.assert_allclose(out[1, :4], run(module, x[1, :4]), atol=1e-5)
    assert np.all(np.isfinite(run(module, x[:, :1])))


def test_all_parameters_of_the_block_learn():
    module = block()
    graphdef, params = nnx.split(module)
    x = normal(0, 2, 6, WIDTH)

    @jax.jit
    def loss(pure):
        return jnp.sum(nnx.merge(graphdef, pure)(x, mask=MASK) ** 2)

    grads = jax.grad(loss)(nnx.to_pure_dict(params))
    assert set(grads) == {"query", "key", "memories", "log_beta", "log_scale", "bias"}
    assert all(np.all(np.isfinite(g)) and np.any(g != 0) for g in jax.tree.leaves(grads))
    assert EnergyTransformerBlock(WIDTH, HEADS, rngs=rngs()).memories.shape == (48, WIDTH)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HopfieldRetrieval(12, num_heads=5, rngs=rngs()), "divisible by num_heads; got 12"),
        (lambda: HopfieldRetrieval(12, beta=0.0, rngs=rngs()), "beta must be > 0; got 0.0"),
        (lambda: HopfieldRetrieval(12, num_steps=0, rngs=rngs()), "num_steps must be >= 1; got 0"),
        (lambda: HopfieldRetrieval(12, energy="epan", rngs=rngs()), "energy must be one of"),
        (
            lambda: HopfieldRetrieval(12, parameters={"alpha": 2.0}, rngs=rngs()),
            "takes no parameters; got 'alpha'",
        ),
        (lambda: HopfieldPooling(12, num_queries=0, rngs=rngs()), "num_queries must be >= 1"),
        (lambda: HopfieldLookup(12, num_memories=0, rngs=rngs()), "num_memories must be >= 1"),
        (lambda: EnergyTransformerBlock(12, 5, rngs=rngs()), "divisible by num_heads; got 12"),
        (
            lambda: EnergyTransformerBlock(12, 3, num_steps=-1, rngs=rngs()),
            "num_steps must be >= 0",
        ),
        (
            lambda: EnergyTransformerBlock(12, 3, step_size=0.0, rngs=rngs()),
            "step_size must be > 0",
        ),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
