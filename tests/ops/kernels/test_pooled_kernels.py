"""Kernels of the pooled coupling against dense formulas, both back ends' programs interpreted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn.ops.kernels import default_platform, pooled
from hopfield_attn.ops.kernels.gram import can_keep_rows
from hopfield_attn.ops.kernels.platform import BLOCKS

pytestmark = pytest.mark.usefixtures("x64")

# Mosaic's program and Triton's. No size is a multiple of a block, and each needs several blocks.
PLATFORMS = ("interpret", "interpret-gpu")
G, N, M, DK, DV = 2, 37, 45, 5, 3


class Problem:
    """Random heads with random masks; queries 0-2 are masked."""

    def __init__(self, num_lefts=3, dtype=float):
        rng = np.random.default_rng(0)

        def normal(*shape):
            return jnp.asarray(rng.normal(size=shape), dtype)

        self.q, self.k, self.y = normal(G, N, DK), normal(G, M, DK), normal(G, M, DV)
        self.x, self.c = normal(G, N, DV), normal(G, M)
        self.lefts, self.rights = normal(G, num_lefts, N, DV), normal(G, num_lefts, M)
        key_mask = rng.random((G, M)) < 0.7
        self.query_mask = jnp.asarray(rng.random((G, N)) < 0.8).at[:, :3].set(False)
        self.key_mask = jnp.asarray(key_mask)

    def weights(self, q, k):
        mask = self.key_mask[:, None, :] & self.query_mask[:, :, None]
        return jax.nn.softmax(jnp.einsum("gnd,gmd->gnm", q, k), axis=-1, where=mask)

    def lse(self, platform):
        return pooled.row_lse(self.q, self.k, self.key_mask, self.query_mask, platform=platform)

    def head(self, platform):
        """The arguments that every kernel of A and y starts with."""
        return self.q, self.k, self.y, self.lse(platform), self.key_mask


def assert_close(actual, expected, tolerance=1e-12):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        assert jnp.all(jnp.isfinite(a))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.core
@pytest.mark.parametrize("platform", PLATFORMS)
def test_products_with_the_weights_are_those_of_the_dense_matrix(platform):
    problem = Problem()
    a = problem.weights(problem.q, problem.k)
    q, k, y, lse, key_mask = problem.head(platform)
    assert_close(pooled.attend(q, k, lse, key_mask, y, platform=platform), a @ y)
    expected = jnp.sum(a * jnp.einsum("gnd,gmd->gnm", problem.x, y), axis=1)
    assert_close(pooled.pool(q, k, y, lse, key_mask, problem.x, platform=platform), expected)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_gram_is_the_product_with_the_dense_gram_matrix(platform):
    problem = Problem()
    a = problem.weights(problem.q, problem.k)
    x, u = pooled.gram(*problem.head(platform), problem.c, platform=platform)
    gram = jnp.einsum("gni,gnj->gij", a, a) * jnp.einsum("gid,gjd->gij", problem.y, problem.y)
    assert_close(x, a @ (problem.c[:, :, None] * problem.y))
    assert_close(u, jnp.einsum("gij,gj->gi", gram, problem.c))


# 9 is more than is unrolled: a loop inside the tile.
@pytest.mark.core
@pytest.mark.parametrize("num_lefts", [1, 9])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_pull_back_is_autodiff_of_the_dense_bilinear_form(platform, num_lefts):
    problem = Problem(num_lefts)

    def form(q, k, y):
        inner = jnp.einsum("gtnd,gmd,gtm->gnm", problem.lefts, y, problem.rights)
        return jnp.sum(problem.weights(q, k) * inner)

    @jax.jit
    def pulled(lefts, rights):
        return pooled.pull_back(*problem.head(platform), lefts, rights, platform=platform)

    gradient = jax.jit(jax.grad(form, argnums=(0, 1, 2)))
    expected = gradient(problem.q, problem.k, problem.y)
    assert_close(pulled(problem.lefts, problem.rights), expected)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_zero_rows_give_zeros_and_large_logits_stay_finite(platform):
    problem = Problem()
    # Head 0 has no key left; logits up to about ±1e4.
    key_mask, q = problem.key_mask.at[0].set(False), 1e4 * problem.q

    @jax.jit
    def everything(q, key_mask):
        lse = pooled.row_lse(q, problem.k, key_mask, problem.query_mask, platform=platform)
        head = (q, problem.k, problem.y, lse, key_mask)
        terms = (problem.lefts, problem.rights)
        return lse, (
            pooled.gram(*head, problem.c, platform=platform),
            pooled.pull_back(*head, *terms, platform=platform),
        )

    lse, results = everything(q, key_mask)
    assert jnp.all(lse[0] == jnp.inf)
    assert jnp.all((lse[1] == jnp.inf) == ~problem.query_mask[1])
    scores = jnp.einsum("gnd,gmd->gnm", q, problem.k)
    mask = jnp.broadcast_to(key_mask[:, None], scores.shape)
    expected = jax.nn.logsumexp(scores, axis=-1, where=mask)
    assert_close(*(row[1][problem.query_mask[1]] for row in (lse, expected)))
    for result in jax.tree.leaves(results):
        assert jnp.all(jnp.isfinite(result))
        assert jnp.all(result[0] == 0)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_causal_row_lse_sees_no_later_key(platform):
    problem = Problem()
    scores = jnp.einsum("gnd,gmd->gnm", problem.q, problem.k)
    mask = jnp.broadcast_to(jnp.tril(jnp.ones((N, M), bool)), scores.shape)
    lse = pooled.row_lse(problem.q, problem.k, None, None, is_causal=True, platform=platform)
    assert_close(lse, jax.nn.logsumexp(scores, axis=-1, where=mask))


def test_bfloat16_inputs_are_accumulated_in_float32():
    low = Problem(dtype=jnp.bfloat16)
    names = ("q", "k", "y", "lefts", "rights")
    inputs = [getattr(low, name) for name in names]

    @jax.jit
    def pulled(q, k, y, lefts, rights):
        lse = pooled.row_lse(q, k, low.key_mask, low.query_mask, platform="interpret")
        head = (q, k, y, lse, low.key_mask)
        return pooled.pull_back(*head, lefts, rights, platform="interpret")

    results = pulled(*inputs), pulled(*(array.astype(jnp.float32) for array in inputs))
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype("float32")}
    assert_close(*results, tolerance=1e-5)


def test_platforms_are_named_and_the_fused_gram_knows_its_limit():
    assert default_platform() in BLOCKS
    assert can_keep_rows(8192, 8192, "tpu") and not can_keep_rows(8192, 2**18, "tpu")
    problem = Problem()
    single = Problem(dtype=jnp.float32)
    with pytest.raises(ValueError, match="interpret-gpu"):
        problem.lse("cpu")
    with pytest.raises(ValueError, match="float32 on tpu; got inputs of float64"):
        problem.lse("tpu")
    # Ten thousand steps at once do not fit a TPU's fast memory.
    stack = jax.ShapeDtypeStruct((G, 10_000, N, DV), jnp.float32)
    rights = jax.ShapeDtypeStruct((G, 10_000, M), jnp.float32)
    with pytest.raises(ValueError, match="MiB of the TPU's fast memory"):
        jax.eval_shape(
            lambda *terms: pooled.pull_back(*single.head("interpret"), *terms, platform="tpu"),
            stack,
            rights,
        )
