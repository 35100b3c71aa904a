"""Random heads of one example, and their energy as a function of the state."""

import functools

import jax.numpy as jnp
import numpy as np

from hopfield_attn import attention_energy
from tests import oracles


def random_head(seed=0, n=5, m=4, d=3):
    """(start x0, values y, weights A) of one head."""
    rng = np.random.default_rng(seed)
    weights = oracles.softmax_weights(rng.normal(size=(n, d)), rng.normal(size=(m, d)))
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)), weights


def head_energy(y, weights, F, *, coupling="pooled", lam=0.5, gain=0.5):
    """E as a function of x."""
    return functools.partial(
        attention_energy,
        y=jnp.asarray(y),
        weights=jnp.asarray(weights),
        nonlinearity=F,
        coupling=coupling,
        lam=lam,
        gain=gain,
    )
