"""Follows the descent of random heads over λ, and writes results/heads.json.

python experiments/04_lambda/heads.py [--smoke]
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from hopfield_attn import attention_descent, nonlinearities
from hopfield_attn.files import write_json
from hopfield_attn.solvers.descent import STATUS_NAMES

HERE = Path(__file__).resolve().parent
LAMS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, "auto")
COUPLINGS = ("pooled", "pairwise")
LENGTH, WIDTH, NUM_HEADS, NUM_SEEDS = 32, 16, 8, 5
STEPS = (4, 200)
ALPHA = 1.0
TOLERANCE = 1e-3
"""Converged: ‖∇E‖ ≤ TOLERANCE · max(1, ‖x‖)."""


def random_heads(seed: int) -> jax.Array:
    """q, k and y of standard normal numbers, each (1, n, h, d)."""
    return jax.random.normal(jax.random.key(seed), (3, 1, LENGTH, NUM_HEADS, WIDTH))


def row(seed: int, coupling: str, lam: float | str, num_steps: int) -> dict:
    """What the heads of a seed do: medians, since one without a minimum goes on for ever."""
    q, k, y = random_heads(seed)
    options = {
        "nonlinearity": nonlinearities.quadratic(ALPHA),
        "coupling": coupling,
        "gain": 1 / WIDTH,
    }
    descend = jax.jit(attention_descent, static_argnames=("coupling", "num_steps", "gain", "lam"))
    found = descend(q, k, y, lam=lam, num_steps=num_steps, **options)
    plain = descend(q, k, y, lam=1.0, num_steps=0, **options).x
    norms = jnp.linalg.norm(found.x, axis=(2, 3))
    distance = np.asarray(
        jnp.linalg.norm(found.x - plain, axis=(2, 3)) / jnp.linalg.norm(plain, axis=(2, 3))
    )
    drop = np.asarray(found.energies[..., 0] - found.energies[..., -1])
    residual = np.asarray(found.grad_norms[..., -1] / jnp.maximum(1.0, norms))
    status = np.asarray(found.status).ravel()
    is_finite = np.isfinite(distance) & np.isfinite(drop) & np.isfinite(residual)
    return {
        "seed": seed,
        "coupling": coupling,
        "lam": lam,
        "num_steps": num_steps,
        "mean_lam": float(np.mean(found.lam)),
        "num_heads": NUM_HEADS,
        "distance": _median(distance[is_finite]),
        "energy_drop": _median(drop[is_finite]),
        "unconverged": int(np.sum(~is_finite | (residual > TOLERANCE))),
        "status": {name: int(np.sum(status == k)) for k, name in enumerate(STATUS_NAMES)},
    }


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if values.size else None


def main(arguments: list[str]) -> int:
    smoke = "--smoke" in arguments
    rows = [
        row(seed, coupling, lam, num_steps)
        for coupling in COUPLINGS
        for num_steps in (STEPS[:1] if smoke else STEPS)
        for lam in (LAMS[-2:] if smoke else LAMS)
        for seed in range(1 if smoke else NUM_SEEDS)
    ]
    if smoke:
        print(rows[-1])
        return 0
    (HERE / "results").mkdir(exist_ok=True)
    settings = {"n": LENGTH, "d": WIDTH, "alpha": ALPHA, "heads": NUM_HEADS, "F": "quadratic"}
    write_json(HERE / "results" / "heads.json", {"settings": settings, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
