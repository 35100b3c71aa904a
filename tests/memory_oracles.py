"""Associative memories and the Energy Transformer in plain NumPy, written apart from the library.

Weights and gradients are the published closed forms; nothing here is differentiated.
"""

import numpy as np

ENERGIES = (
    "modern_hopfield",
    "fenchel_young",
    "softmax1",
    "dense_polynomial",
    "dense_exponential",
    "epanechnikov",
)
ON_SPHERE = ("dense_polynomial", "dense_exponential")


def mat(n, d, p):
    """Matrix of the reference numbers: sin(0.7 (i d + j) + p)."""
    return np.sin(0.7 * (np.arange(n)[:, None] * d + np.arange(d)[None, :]) + p)


def entmax(z, alpha):
    """α-entmax of one row, by 200 halvings of the bracket of the threshold."""
    if alpha == 1:
        e = np.exp(z - z.max())
        return e / e.sum()
    x = (alpha - 1) * (z - z.max())
    low, high = -1.0, 0.0
    for _ in range(200):
        middle = (low + high) / 2
        if (np.maximum(x - middle, 0) ** (1 / (alpha - 1))).sum() >= 1:
            low = middle
        else:
            high = middle
    return np.maximum(x - low, 0) ** (1 / (alpha - 1))


def tsallis_entropy(p, alpha):
    if alpha == 1:
        return -sum(q * np.log(q) for q in p if q > 0)
    return np.sum(p - p**alpha) / (alpha * (alpha - 1))


def tsallis_conjugate(z, alpha):
    p = entmax(z, alpha)
    return p @ z + tsallis_entropy(p, alpha)


def interaction(s, *, energy, beta, alpha=1.5, degree=3):
    """Λ of the similarities that take part."""
    if s.size == 0:
        return 0.0
    with np.errstate(divide="ignore"):
        return {
            "modern_hopfield": lambda: np.log(np.sum(np.exp(beta * s))) / beta,
            "fenchel_young": lambda: tsallis_conjugate(beta * s, alpha) / beta,
            "softmax1": lambda: np.log1p(np.sum(np.exp(beta * s))) / beta,
            "dense_polynomial": lambda: np.sum(np.maximum(beta * s, 0) ** degree) / degree / beta,
            "dense_exponential": lambda: np.sum(np.exp(beta * s)) / beta,
            "epanechnikov": lambda: np.log(np.sum(np.maximum(1 + beta * s, 0))) / beta,
        }[energy]()


def weights(s, *, energy, beta, alpha=1.5, degree=3):
    """The published weights of the memories that take part; epanechnikov: ∂Λ/∂s."""
    if s.size == 0:
        return s
    e = np.exp(beta * s)
    inside = np.maximum(1 + beta * s, 0)
    return {
        "modern_hopfield": lambda: e / e.sum(),
        "fenchel_young": lambda: entmax(beta * s, alpha),
        "softmax1": lambda: e / (1 + e.sum()),
        "dense_polynomial": lambda: np.maximum(beta * s, 0) ** (degree - 1),
        "dense_exponential": lambda: e,
        "epanechnikov": lambda: (inside > 0) / (inside.sum() or 1.0),
    }[energy]()


def similarities(query, memories, energy):
    if energy == "epanechnikov":
        return np.array([-0.5 * np.sum((query - k) ** 2) for k in memories])
    return memories @ query


def memory_energy(query, memories, mask=None, *, energy, **options):
    kept = memories if mask is None else memories[mask]
    value = -interaction(similarities(query, kept, energy), energy=energy, **options)
    return value if energy == "epanechnikov" else value + 0.5 * query @ query


def memory_weights(query, memories, mask=None, *, energy, **options):
    mask = np.ones(len(memories), bool) if mask is None else mask
    found = np.zeros(len(memories))
    found[mask] = weights(similarities(query, memories[mask], energy), energy=energy, **options)
    return found


def update(query, memories, mask=None, *, energy, on_sphere=False, **options):
    """The published update of the state: Kᵀw, its direction, or the mean of those in reach."""
    w = memory_weights(query, memories, mask, energy=energy, **options)
    if energy == "epanechnikov":
        return memories[w > 0].mean(axis=0) if w.any() else query
    new = w @ memories
    if not on_sphere:
        return new
    return new / np.linalg.norm(new) if new.any() else query


def retrieve(query, memories, mask=None, *, energy, num_steps, on_sphere=False, **options):
    """(state, energies at steps 0, …, T) of one query."""
    if on_sphere:
        query = query / np.linalg.norm(query)
    energies = [memory_energy(query, memories, mask, energy=energy, **options)]
    for _ in range(num_steps):
        query = update(query, memories, mask, energy=energy, on_sphere=on_sphere, **options)
        energies.append(memory_energy(query, memories, mask, energy=energy, **options))
    return query, np.array(energies)


def published_constant(memories, *, beta, alpha):
    """What published Hopfield–Fenchel–Young energies add: H_α(1/N)/β + ½ max‖k‖²."""
    uniform = np.full(len(memories), 1 / len(memories))
    return tsallis_entropy(uniform, alpha) / beta + 0.5 * np.max(np.sum(memories**2, axis=1))


def separations(memories):
    """Δ_i = min_{j≠i} ⟨k_i, k_i − k_j⟩ of each memory."""
    gaps = np.sum(memories**2, axis=1)[:, None] - memories @ memories.T
    return np.min(gaps + np.where(np.eye(len(memories), dtype=bool), np.inf, 0), axis=1)


def required_separation(beta, count, largest):
    """The right-hand side of the condition of Ramsauer et al.: N patterns of norm at most M."""
    return 2 / (beta * count) + np.log(2 * (count - 1) * count * beta * largest**2) / beta


def layer_norm(x, scale, bias, epsilon):
    centered = x - x.mean(axis=-1, keepdims=True)
    return scale * centered / np.sqrt(x.var(axis=-1, keepdims=True) + epsilon) + bias


def energy_transformer(g, wq, wk, memories, *, beta, mask, include_self=False):
    """(E, ∂E/∂g) with loops over heads and tokens; beta has one number a head."""
    energy, grad = 0.0, np.zeros_like(g)
    real = np.flatnonzero(mask)
    for q_projection, k_projection, b in zip(wq, wk, beta, strict=True):
        queries, keys = g @ q_projection.T, g @ k_projection.T
        for c in real:
            others = [i for i in real if include_self or i != c]
            if not others:
                continue
            e = np.exp(b * keys[others] @ queries[c])
            energy -= np.log(e.sum()) / b
            a = e / e.sum()
            grad[c] -= q_projection.T @ (a @ keys[others])
            grad[others] -= np.outer(a, k_projection.T @ queries[c])
    hidden = np.maximum(g[real] @ memories.T, 0)
    grad[real] -= hidden @ memories
    return energy - 0.5 * np.sum(hidden**2), grad
