"""Every implementation computes what ``jax.grad`` of the energy computes: values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn import nonlinear_attention, nonlinearities
from hopfield_attn.ops import blockwise, heads, primal

pytestmark = pytest.mark.usefixtures("x64")

APPLIES = {
    "primal": ("pooled", "pairwise", "elementwise"),
    "dual": ("pooled",),
    "blockwise": ("pooled", "pairwise", "elementwise"),
    "kernels": ("pooled", "pairwise", "elementwise"),
}
CASES = [(name, coupling) for name, couplings in APPLIES.items() for coupling in couplings]
SHAPES = ((2, 5, 7, 2, 3, 4), (1, 8, 3, 3, 2, 2))
"""(b, n, m, h, d_k, d_v): cross-attention; few, because each one compiles."""


@pytest.fixture(params=["whole", "in pieces"])
def pieces(request, monkeypatch):
    """Once with everything at a time, once with heads, rows and blocks one after the other."""
    if request.param == "in pieces":
        monkeypatch.setattr(heads, "CPU_CELLS", 70)
        monkeypatch.setattr(primal, "ROW_CELLS", 14)
        monkeypatch.setattr(blockwise, "BLOCK_CELLS", 14)


def problem(shape, seed, name="quadratic"):
    b, n, m, h, dk, dv = shape
    rng = np.random.default_rng(seed)
    draw = lambda *size: jnp.asarray(rng.normal(size=size))  # noqa: E731
    arrays = {"query": draw(b, n, h, dk), "key": draw(b, m, h, dk), "value": draw(b, m, h, dv)}
    F = nonlinearities.make_nonlinearity(name, 0.5 * draw(h))
    masks = {
        "query_mask": jnp.asarray(rng.random((b, n)) < 0.8),
        # The first example has no key at all.
        "key_mask": jnp.asarray(rng.random((b, m)) < 0.7).at[0].set(seed % 2 == 0),
    }
    numbers = {
        "lam": jnp.asarray(rng.uniform(0, 3)),
        "step_size": jnp.asarray(rng.uniform(0.1, 0.5)),
        "gain": jnp.asarray(rng.uniform(0.2, 1.0)),
    }
    return {**arrays, "nonlinearity": F, **numbers}, masks, draw(b, n, h, dv)


def value_and_gradients(arguments, masks, cotangent, **options):
    """The output, and the derivatives in q, k, y, α, λ, η and s."""

    def loss(arguments, masks, cotangent):
        out = nonlinear_attention(**arguments, **masks, **options)
        return jnp.sum(out * cotangent), out

    (_, out), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(arguments, masks, cotangent)
    return out, grads


def assert_same(got, expected, tolerance=1e-11):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        scale = 1 + np.max(np.abs(b))
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=tolerance)


@functools.cache
def by_autodiff(shape, seed, name, coupling, num_steps, is_causal=False):
    options = {"coupling": coupling, "num_steps": num_steps, "is_causal": is_causal}
    return value_and_gradients(*problem(shape, seed, name), **options, implementation="autodiff")


@pytest.mark.core
@pytest.mark.parametrize("implementation,coupling", CASES)
@pytest.mark.parametrize("shape,num_steps", [(SHAPES[0], 3)])
def test_values_and_gradients_are_those_of_autodiff(
    implementation, coupling, shape, num_steps, pieces
):
    name = {3: "quadratic", 1: "log_cosh"}[num_steps]
    for seed in (0,):
        expected = by_autodiff(shape, seed, name, coupling, num_steps)
        options = {"coupling": coupling, "num_steps": num_steps}
        got = value_and_gradients(
            *problem(shape, seed, name), **options, implementation=implementation
        )
        assert_same(got, expected)


@pytest.mark.parametrize("implementation,coupling", CASES)
@pytest.mark.parametrize("name", ["cubic", "spline"])
def test_every_family(implementation, coupling, name):
    if implementation == "kernels" and coupling == "pairwise" and name == "spline":
        pytest.skip("a kernel has no splines")
    expected = by_autodiff(SHAPES[0], 2, name, coupling, 2)
    got = value_and_gradients(
        *problem(SHAPES[0], 2, name), coupling=coupling, num_steps=2, implementation=implementation
    )
    assert_same(got, expected)
