"""The energy never rises at the certified step: every bounded F, coupling, mask and precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn import attention_descent, nonlinearities
from tests import oracles

FAMILIES = {name: nonlinearities.make_nonlinearity(name) for name in nonlinearities.FAMILIES}
BOUNDED = [name for name, F in FAMILIES.items() if F.is_bounded]
NUM_STEPS = 8

# Rounding of the energy: float32 sums, relative to the size of its terms.
TOLERANCE = 1e-5


def arrays(seed, dtype):
    rng = np.random.default_rng(seed)
    q, k, v = (jnp.asarray(rng.normal(size=(2, 6, 2, 4)), dtype) for _ in range(3))
    masks = {
        "query_mask": jnp.asarray(rng.random((2, 6)) < 0.8),
        "key_mask": jnp.asarray(rng.random((2, 6)) < 0.8).at[1].set(False),
    }
    return (q, k, v), masks


@functools.partial(jax.jit, static_argnames=("coupling", "lam"))
def solve(qkv, masks, F, *, coupling, lam):
    options = {"coupling": coupling, "lam": lam, "num_steps": NUM_STEPS, "step_size": "auto"}
    return attention_descent(*qkv, nonlinearity=F, **options, **masks)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("quadratic", "log_cosh") else [pytest.mark.slow])
        for name in BOUNDED
    ],
)
def test_energy_never_rises_at_the_certified_step(name, coupling):
    for seed, dtype in enumerate((jnp.float32, jnp.bfloat16, jnp.float16)):
        qkv, masks = arrays(seed, dtype)
        for lam in (0.0, "auto"):
            # Both signs of α: with α < 0 it is F'' below 0 that shortens the step.
            F = nonlinearities.make_nonlinearity(name, jnp.array([-1.5, 2.0]))
            found = solve(qkv, masks, F, coupling=coupling, lam=lam)
            size = 1 + np.abs(found.energies).max(axis=-1, keepdims=True)
            assert np.all(np.diff(found.energies, axis=-1) <= TOLERANCE * size)
            assert np.all(found.status == 0)
            assert np.all(found.step_size > 0)
            np.testing.assert_array_equal(found.energies[1], 0)  # no key: nothing to descend
            if name != "identity":
                assert np.all(found.energies[0, :, -1] < found.energies[0, :, 0])


def test_families_without_a_bound_are_refused():
    qkv, masks = arrays(0, jnp.float32)
    for name in sorted(set(FAMILIES) - set(BOUNDED)):
        with pytest.raises(ValueError, match=f"F'' of '{name}' is unbounded"):
            solve(qkv, masks, FAMILIES[name], coupling="pooled", lam=0.0)
