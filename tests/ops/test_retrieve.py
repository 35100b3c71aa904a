import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

from hopfield_attn.ops.retrieve import Retrieval, retrieval_descent, retrieve, separating_beta
from hopfield_attn.solvers.descent import FELL, NON_FINITE
from tests import memory_oracles as oracles

pytestmark = pytest.mark.usefixtures("x64")

STATIC = ("energy", "num_steps", "normalize", "on_sphere", "alpha", "degree")
solve = jax.jit(retrieval_descent, static_argnames=STATIC)
every_name = pytest.mark.parametrize("energy", oracles.ENERGIES)
# One of each kind of update: gradient step, sphere, mean of those in reach.
each_kind = pytest.mark.parametrize("energy", ["fenchel_young", "dense_polynomial", "epanechnikov"])
BATCH, N, M, D, DV = (2, 3), 4, 6, 5, 2


def problem(seed=0):
    """query (2, 3, n, d), memories (2, 3, m, d), values (2, 3, m, d_v), mask (2, 3, m)."""
    rng = np.random.default_rng(seed)
    shapes = (*BATCH, N, D), (*BATCH, M, D), (*BATCH, M, DV)
    query, memories, values = (rng.normal(size=shape) for shape in shapes)
    mask = rng.random((*BATCH, M)) < 0.7
    mask[0, 1] = False
    return tuple(map(jnp.asarray, (query, memories, values, mask)))


def softmax_attention(query, memories, values, beta):
    logits = beta * query @ memories.T
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True) @ values


def test_golden_numbers_of_one_step_with_values():
    query, memories, values = (
        oracles.mat(3, 4, 0.3),
        oracles.mat(6, 4, 1.0),
        oracles.mat(6, 4, 2.0),
    )
    out = solve(query, memories, values=values, beta=2.0, num_steps=1).x
    np.testing.assert_allclose(
        out[0], [0.880841477418, 0.804119213141, 0.349207118214, -0.269942540920], atol=1e-12
    )
    np.testing.assert_allclose(
        out, softmax_attention(query, memories, values, 2.0), rtol=1e-12, atol=1e-14
    )


@every_name
@given(
    seed=st.integers(0, 2**32 - 1),
    beta=st.sampled_from([0.1, 1.0]),
    kept=st.sampled_from([0.0, 0.6, 1.0]),
)
def test_every_step_is_the_published_update_and_energy_never_rises(energy, seed, beta, kept):
    rng = np.random.default_rng(seed)
    query, memories = rng.normal(size=(N, D)), rng.normal(size=(M, D))
    mask = rng.random(M) < kept
    found = solve(query, memories, mask=mask, energy=energy, beta=beta, num_steps=4)
    options = {"energy": energy, "beta": beta}
    for i in range(N):
        x, energies = oracles.retrieve(
            query[i],
            memories,
            mask,
            num_steps=4,
            on_sphere=energy in oracles.ON_SPHERE,
            **options,
        )
        np.testing.assert_allclose(found.x[i], x, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(found.energies[i], energies, rtol=1e-9, atol=1e-10)
        weights = oracles.memory_weights(x, memories, mask, **options)
        if energy == "epanechnikov":
            weights = weights / (weights.sum() or 1)
        np.testing.assert_allclose(found.weights[i], weights, rtol=1e-8, atol=1e-10)
        if np.isfinite(energies).all():
            assert np.all(np.diff(found.energies[i]) <= 1e-12 * (1 + np.abs(energies[0])))
            assert found.status[i] == FELL
        else:
            assert found.status[i] == NON_FINITE


@each_kind
def test_energy_never_rises_in_bfloat16(energy):
    """Up to 1e-5 of its size: the computation is float32, the inputs alone are rounded."""
    query, memories, _, mask = problem(5)
    found = solve(
        query.astype(jnp.bfloat16),
        memories.astype(jnp.bfloat16),
        mask=mask,
        energy=energy,
        beta=0.02 if energy == "epanechnikov" else 0.2,
        num_steps=6,
    )
    assert found.energies.dtype == jnp.float32
    size = 1 + np.abs(found.energies[..., :1])
    assert np.all(np.diff(found.energies) <= 1e-5 * size)
    assert np.all(found.status == FELL)


@each_kind
def test_batched_equals_looped(energy):
    query, memories, values, mask = problem()
    beta = jnp.array([0.2, 0.4, 0.8])
    options = {"energy": energy, "num_steps": 3}
    whole = solve(query, memories, values=values, mask=mask, beta=beta, **options)
    assert whole.energies.shape == (*BATCH, N, 3)
    for i, j in np.ndindex(BATCH):
        one = solve(
            query[i, j],
            memories[i, j],
            values=values[i, j],
            mask=mask[i, j],
            beta=beta[j],
            **options,
        )
        for batched, looped in zip(whole, one, strict=True):
            np.testing.assert_allclose(batched[i, j], looped, rtol=1e-11, atol=1e-13)


def test_leading_axes_broadcast():
    """Shared memories: without leading axes, and with axes of size one."""
    query, memories, _, mask = problem()
    options = {"energy": "epanechnikov", "num_steps": 3}
    shared = [
        solve(query, memories[0, 0], mask=mask[:, :1], beta=0.3, **options),
        solve(query, memories[:1, :1], mask=mask[:, :1], beta=0.3, **options),
        solve(
            query,
            np.broadcast_to(memories[0, 0], memories.shape),
            mask=np.broadcast_to(mask[:, :1], mask.shape),
            beta=0.3,
            **options,
        ),
    ]
    for other in shared[:2]:
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-11), other, shared[2])


@each_kind
def test_values_are_read_out_after_one_update_less(energy):
    query, memories, values, mask = problem(1)
    options = {"energy": energy, "beta": 0.3, "mask": mask}
    state = solve(query, memories, num_steps=2, **options)
    read = solve(query, memories, values=values, num_steps=3, **options)
    np.testing.assert_allclose(read.energies, state.energies, rtol=1e-12)
    np.testing.assert_allclose(read.weights, state.weights, rtol=1e-12)
    kept = np.where(mask[..., None], values, 0)
    np.testing.assert_allclose(read.x, state.weights @ kept, rtol=1e-11, atol=1e-13)


@each_kind
def test_padding_and_a_full_mask_change_and_break_nothing(energy):
    query, memories, values, mask = problem(2)
    hidden = (jnp.where(mask[..., None], a, jnp.nan) for a in (memories, values))

    @jax.jit
    def loss(query, memories, values):
        options = {"energy": energy, "beta": 0.2, "mask": mask, "num_steps": 3}
        return jnp.sum(retrieve(query, memories, values=values, **options) ** 2)

    value, grads = jax.value_and_grad(loss, argnums=(0, 1, 2))(query, memories, values)
    padded, padded_grads = jax.value_and_grad(loss, argnums=(0, 1, 2))(query, *hidden)
    np.testing.assert_allclose(padded, value, rtol=1e-12)
    for grad, other in zip(grads, padded_grads, strict=True):
        assert np.all(np.isfinite(grad))
        np.testing.assert_allclose(other, grad, rtol=1e-11, atol=1e-13)
    assert not np.any(grads[1][~mask])
    out = solve(query, memories, values=values, mask=mask, energy=energy, beta=0.2, num_steps=3)
    assert not np.any(out.x[0, 1])
    assert not np.any(out.weights[0, 1])


@each_kind
def test_the_gradient_by_each_heads_beta_agrees_with_differences(energy):
    query, memories, values, _ = problem(3)

    @jax.jit
    def score(beta):
        out = retrieve(query, memories, values=values, energy=energy, beta=beta, num_steps=2)
        return jnp.sum(jnp.sin(out))

    check_grads(score, (jnp.array([0.06, 0.05, 0.04]),), order=1, modes=["rev"], rtol=1e-5)


def separated_patterns(seed, num_patterns=16, width=32):
    rng = np.random.default_rng(seed)
    memories = rng.normal(size=(num_patterns, width))
    return memories / np.linalg.norm(memories, axis=1, keepdims=True)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_one_update_retrieves_within_the_bounds_of_ramsauer_et_al(factor):
    """Theorem 5, for stored and for corrupted patterns; M = 1."""
    for seed in range(3):
        memories = separated_patterns(seed)
        count, gaps = len(memories), oracles.separations(memories)
        beta = factor * float(separating_beta(jnp.asarray(memories)))
        fixed = solve(memories, memories, beta=beta, num_steps=200).x
        noise = np.random.default_rng(seed).normal(size=memories.shape)
        for noise_norm in (0.0, 0.02, 0.1):
            start = memories + noise_norm * noise / np.linalg.norm(noise, axis=1, keepdims=True)
            step = solve(start, memories, beta=beta, num_steps=1).x
            radius = np.maximum(noise_norm, np.linalg.norm(fixed - memories, axis=1))
            epsilon = (count - 1) * np.exp(-beta * (gaps - 2 * radius))
            assert np.all(np.linalg.norm(step - memories, axis=1) <= 2 * epsilon + 1e-14)
            # Theorem 4's Jacobian bounds how far one step is from convergence.
            slope = 2 * beta * count * epsilon
            distance = np.linalg.norm(start - fixed, axis=1)
            assert np.all(np.linalg.norm(step - fixed, axis=1) <= slope * distance + 1e-12)


def test_corrupted_patterns_are_retrieved_at_once_if_separated_and_later_or_never_if_not():
    memories = separated_patterns(4)
    noisy = memories + 0.1 * np.random.default_rng(0).normal(size=memories.shape)
    after = {
        (beta, steps): np.asarray(solve(noisy, memories, beta=beta, num_steps=steps).x)
        for beta in (0.1, 8.0, 30.0)
        for steps in (1, 60)
    }
    np.testing.assert_allclose(after[30.0, 1], memories, atol=1e-3)
    assert np.abs(after[30.0, 1] - after[30.0, 60]).max() < 1e-4
    assert np.abs(after[8.0, 1] - after[8.0, 60]).max() > 1e-2
    mean = np.tile(memories.mean(axis=0), (16, 1))
    np.testing.assert_allclose(after[0.1, 60], mean, atol=1e-2)


@every_name
def test_stored_patterns_are_stationary_for_every_energy_that_separates_them(energy):
    memories = np.eye(4) * 1.5
    beta = {"epanechnikov": 1.5, "fenchel_young": 4.0}.get(energy, 12.0)
    found = solve(memories, memories, energy=energy, beta=beta, num_steps=3)
    expected = np.eye(4) if energy in oracles.ON_SPHERE else memories
    np.testing.assert_allclose(found.x, expected, atol=1e-4)
    if energy in ("epanechnikov", "fenchel_young", "dense_polynomial"):
        np.testing.assert_allclose(found.x, expected, atol=1e-14)


def test_auto_beta_is_the_separating_one_and_held_constant():
    query, memories, _, mask = problem(6)
    options = {"mask": mask, "num_steps": 1, "normalize": True}
    auto = jax.jit(functools.partial(retrieval_descent, beta="auto", **options))(query, memories).x
    unit = memories / jnp.linalg.norm(memories, axis=-1, keepdims=True)
    beta = separating_beta(unit, mask=mask)
    stated = solve(query, memories, beta=beta, **options).x
    np.testing.assert_allclose(auto, stated, rtol=1e-12)
    twice = jnp.asarray(separated_patterns(0)).at[1].set(separated_patterns(0)[0])
    score = jax.jit(lambda k: jnp.sum(retrieve(k, k, beta="auto", num_steps=1)[3]))
    grad = jax.grad(score)(twice)
    assert np.all(np.isfinite(grad))


def test_normalised_retrieval_knows_no_scale_and_survives_zeros():
    query, memories, _, _ = problem(7)
    options = {"beta": 3.0, "num_steps": 2, "normalize": True}
    found = solve(query, memories, **options).x
    np.testing.assert_allclose(solve(1e8 * query, 1e-8 * memories, **options).x, found, rtol=1e-9)
    score = jax.jit(lambda q: jnp.sum(retrieve(q, memories[0, 0], **options)))
    grad = jax.grad(score)(jnp.zeros((1, D)))
    assert np.all(np.isfinite(grad))


def test_the_sphere_is_the_default_of_the_dense_energies_alone_and_can_be_left():
    query, memories, _, _ = problem(8)
    for energy in oracles.ENERGIES:
        x = solve(query, memories, energy=energy, beta=0.3, num_steps=2).x
        norms = np.linalg.norm(x, axis=-1)
        assert np.allclose(norms, 1, rtol=1e-12) == (energy in oracles.ON_SPHERE)
    options = {"energy": "dense_polynomial", "beta": 1.0, "num_steps": 8}
    left = solve(memories[:, :, :N] * 10, memories, on_sphere=False, **options)
    assert np.all(left.status == NON_FINITE)
    on = solve(query, memories, energy="modern_hopfield", beta=1.0, num_steps=3, on_sphere=True)
    np.testing.assert_allclose(np.linalg.norm(on.x, axis=-1), 1, rtol=1e-12)
    assert np.all(np.diff(on.energies) <= 1e-13)


def test_a_query_out_of_reach_stays_and_says_so():
    memories = np.array([[0.0, 0.0], [3.0, 0.0]])
    query = np.array([[50.0, 0.0], [0.2, 0.0], [1.5, 0.0]])
    found = solve(query, memories, energy="epanechnikov", beta=0.5, num_steps=3)
    np.testing.assert_allclose(found.x, [[50, 0], [0, 0], [1.5, 0]], atol=1e-15)
    np.testing.assert_array_equal(found.status, [NON_FINITE, FELL, FELL])
    np.testing.assert_array_equal(found.weights, [[0, 0], [1, 0], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("energy", "dtype"),
    [(name, jnp.bfloat16) for name in oracles.ENERGIES] + [("fenchel_young", jnp.float16)],
)
def test_large_logits_of_low_precision_stay_finite(dtype, energy):
    """±1e4, but for e^{βs}, which no float32 holds: there the status says so."""
    memories = jnp.array([[100.0, 0.0], [-100.0, 0.0], [0.0, 100.0]], dtype)
    query = jnp.array([[100.0, 1.0], [-100.0, 1.0]], dtype)
    found = solve(query, memories, energy=energy, beta=1.0, num_steps=2)
    if energy == "dense_exponential":
        assert np.all(found.status == NON_FINITE)
        return
    assert all(np.all(np.isfinite(leaf)) for leaf in (found.x, found.weights))
    scale = 1 if energy == "dense_polynomial" else 100
    np.testing.assert_allclose(found.x, scale * np.array([[1, 0], [-1, 0]]), atol=1e-3)
    assert (
        jax.eval_shape(lambda q: retrieve(q, memories, beta=1.0, num_steps=1), query).dtype == dtype
    )


def test_jit_equals_eager_and_zero_steps_return_the_query():
    query, memories, _, mask = problem(9)
    options = {"mask": jnp.asarray(mask[0, 0]), "beta": 1.0, "num_steps": 2}
    query, memories = jnp.asarray(query[0, 0]), jnp.asarray(memories[0, 0])
    eager = retrieval_descent(query, memories, **options)
    assert isinstance(eager, Retrieval)
    for ours, compiled in zip(eager, solve(query, memories, **options), strict=True):
        np.testing.assert_allclose(ours, compiled, rtol=1e-12)
    np.testing.assert_array_equal(solve(query, memories, beta=1.0, num_steps=0).x, query)


@pytest.mark.usefixtures("no_typechecker")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"energy": "hopfield"}, ValueError, r"must be one of 'modern_hopfield'.*got 'hopfield'"),
        ({"alpha": 2.0}, ValueError, "takes no parameters; got 'alpha'"),
        ({"beta": -1.0}, ValueError, "beta must be > 0; got -1.0"),
        ({"beta": "atuo"}, ValueError, "a positive number, an array or 'auto'; got 'atuo'"),
        ({"beta": jnp.ones(4)}, ValueError, r"the leading axes must broadcast.*beta \(4,\)"),
        ({"beta": jnp.ones((5, 1))}, ValueError, r"to the leading axes \(2,\); got shape \(5, 1\)"),
        ({"num_steps": -1}, ValueError, "num_steps must be >= 0; got -1"),
        ({"num_steps": 1.0}, TypeError, "num_steps must be an int; got 1.0 of float"),
        ({"num_steps": 0, "values": jnp.ones((3, 2))}, ValueError, "num_steps must be >= 1 with"),
        ({"values": jnp.ones((4, 2))}, ValueError, "values must have one row a memory, 3; got 4"),
        ({"values": jnp.ones((3, 2), int)}, TypeError, "values must be a floating-point"),
        ({"query": jnp.ones(5)}, ValueError, r"query must have shape \(..., rows, width\); got"),
        ({"query": jnp.ones((2, 4, 6))}, ValueError, "same width d; got 6 and 5"),
        ({"memories": jnp.ones((3, 3, 5))}, ValueError, r"query \(2,\), memories \(3,\)"),
        ({"mask": jnp.ones(3)}, TypeError, "mask must be boolean"),
        ({"mask": jnp.ones(4, bool)}, ValueError, r"mask must have shape \(..., 3\); got"),
        ({"energy": "epanechnikov", "on_sphere": True}, ValueError, "on_sphere is for dot-product"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    arguments = {
        "query": jnp.ones((2, 4, 5)),
        "memories": jnp.ones((3, 5)),
        "beta": 1.0,
        "num_steps": 1,
    }
    arguments |= change
    arrays = arguments.pop("query"), arguments.pop("memories")
    for fn in (retrieve, retrieval_descent):
        with pytest.raises(error, match=message):
            fn(*arrays, **arguments)


@pytest.mark.heavy
@pytest.mark.parametrize("padded", [False, True])
def test_one_step_with_values_is_torch_multihead_attention(padded):
    torch = pytest.importorskip("torch", reason="torch is not installed: scripts/test --all")
    b, n, m, heads, width = 2, 5, 7, 3, 12
    rng = np.random.default_rng(0)
    theirs = torch.nn.MultiheadAttention(width, heads, batch_first=True, dtype=torch.float64)
    query, context = rng.normal(size=(b, n, width)), rng.normal(size=(b, m, width))
    mask = np.arange(m) < np.array([[m], [4]]) if padded else np.ones((b, m), bool)
    with torch.no_grad():
        theirs.in_proj_bias.copy_(torch.tensor(rng.normal(size=3 * width)))
        expected, _ = theirs(
            *map(torch.tensor, (query, context, context)), key_padding_mask=torch.tensor(~mask)
        )
    kernels = np.split(theirs.in_proj_weight.detach().numpy(), 3)
    biases = np.split(theirs.in_proj_bias.detach().numpy(), 3)
    q, k, v = (
        (a @ kernel.T + bias).reshape(b, -1, heads, width // heads).swapaxes(1, 2)
        for a, kernel, bias in zip((query, context, context), kernels, biases, strict=True)
    )
    beta = (width // heads) ** -0.5
    out = solve(q, k, values=v, mask=mask[:, None], beta=beta, num_steps=1).x
    out = (
        np.asarray(out).swapaxes(1, 2).reshape(b, n, width)
        @ theirs.out_proj.weight.detach().numpy().T
    )
    out = out + theirs.out_proj.bias.detach().numpy()
    np.testing.assert_allclose(out, expected.numpy(), rtol=1e-10, atol=1e-10)
