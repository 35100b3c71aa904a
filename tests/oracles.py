"""The mathematics in plain NumPy and float64, written apart from the library."""

import numpy as np
from scipy.interpolate import CubicSpline

FAMILIES = ("identity", "quadratic", "cubic", "exponential", "log_cosh", "square", "exp")
COUPLINGS = ("pooled", "pairwise", "elementwise")


def nonlinearity(name, u, alpha):
    """(F(u), F'(u)) of a family."""
    table = {
        "identity": lambda: (u, np.ones_like(u)),
        "quadratic": lambda: (u + alpha * u**2 / 2, 1 + alpha * u),
        "cubic": lambda: (u + alpha * u**3 / 3, 1 + alpha * u**2),
        "exponential": lambda: (
            (np.expm1(alpha * u) / alpha if alpha else u),
            np.exp(alpha * u),
        ),
        "log_cosh": lambda: (u + alpha * np.log(np.cosh(u)), 1 + alpha * np.tanh(u)),
        "square": lambda: (u**2, 2 * u),
        "exp": lambda: (np.exp(u), np.exp(u)),
    }
    return table[name]()


def curvature(name, u, alpha):
    """F''(u) of a family; "spline" is the default one, through u²/2 at nine knots."""
    table = {
        "identity": lambda: np.zeros_like(u),
        "quadratic": lambda: alpha + np.zeros_like(u),
        "cubic": lambda: 2 * alpha * u,
        "exponential": lambda: alpha * np.exp(alpha * u),
        "log_cosh": lambda: alpha / np.cosh(u) ** 2,
        "square": lambda: 2 + np.zeros_like(u),
        "exp": lambda: np.exp(u),
        "spline": lambda: alpha * _spline_curvature(u),
    }
    return table[name]()


def _spline_curvature(u):
    knots = np.linspace(-4, 4, 9)
    inner = CubicSpline(knots, knots**2 / 2, bc_type="natural")
    return np.where(np.abs(u) <= 4, inner(np.clip(u, -4, 4), 2), 0.0)


def softmax_weights(q, k, mask=None):
    """Attention weights of one head: rows of softmax(q kᵀ/√d), zero where masked."""
    logits = q @ k.T / np.sqrt(q.shape[-1])
    mask = np.ones(logits.shape, bool) if mask is None else mask
    weights = np.zeros_like(logits)
    for i, (row, keep) in enumerate(zip(logits, mask, strict=True)):
        if keep.any():
            e = np.exp(row[keep] - row[keep].max())
            weights[i, keep] = e / e.sum()
    return weights


def energy(x, y, weights, *, name, alpha, coupling, lam, gain):
    """M1 with M2a-c."""

    def scaled(u):
        return nonlinearity(name, gain * u, alpha)[0] / gain

    attended = weights @ y
    inner = x @ y.T
    if coupling == "pooled":
        interaction = scaled(np.sum(weights * inner, axis=0)).sum()
    elif coupling == "pairwise":
        interaction = (weights * scaled(inner)).sum()
    else:
        interaction = (scaled(x) * attended).sum()
    return -interaction + 0.5 * np.sum(x**2) + 0.5 * lam * np.sum((x - attended) ** 2)


def gradient(x, y, weights, *, name, alpha, coupling, lam, gain):
    """M4a-c."""

    def slope(u):
        return nonlinearity(name, gain * u, alpha)[1]

    attended = weights @ y
    inner = x @ y.T
    if coupling == "pooled":
        u = np.sum(weights * inner, axis=0)
        return (1 + lam) * x - weights @ ((slope(u) + lam)[:, None] * y)
    if coupling == "pairwise":
        return (1 + lam) * x - (weights * (slope(inner) + lam)) @ y
    return x - slope(x) * attended + lam * (x - attended)


def descend(y, weights, *, num_steps, step_size, **options):
    """Gradient descent on M1 from A y, with the closed-form gradient."""
    x = weights @ y
    for _ in range(num_steps):
        x = x - step_size * gradient(x, y, weights, **options)
    return x


def lipschitz(y, weights, *, coupling, lam, gain, max_abs_curvature):
    """A bound on the largest |eigenvalue| of the Hessian (section 5)."""
    if coupling == "pooled":
        gram = (weights.T @ weights) * (y @ y.T)
        size = np.linalg.eigvalsh(gram)[-1]
    elif coupling == "pairwise":
        size = np.max(np.sum(y**2, axis=1))
    else:
        size = np.max(np.abs(weights @ y))
    return 1 + lam + gain * max_abs_curvature * size


def interaction_matrix(y, weights, coupling, bend=None):
    """B(F''): what F'' takes off the Hessian, over the flattened state; ``None``: F'' = 1.

    ``bend`` is F'' at what F meets: (m,) pooled, (n, m) pairwise, (n, d_v) elementwise.
    """
    n, d = weights.shape[0], y.shape[1]
    if coupling == "pooled":
        left = (weights[:, :, None] * y[None]).transpose(1, 0, 2).reshape(len(y), n * d)
        return left.T @ ((1.0 if bend is None else bend[:, None]) * left)
    blocks = np.zeros((n, d, n, d))
    bend = np.ones((n, len(y) if coupling == "pairwise" else d)) if bend is None else bend
    for i in range(n):
        if coupling == "pairwise":
            blocks[i, :, i] = y.T @ ((weights[i] * bend[i])[:, None] * y)
        else:
            blocks[i, :, i] = np.diag(bend[i] * (weights[i] @ y))
    return blocks.reshape(n * d, n * d)


def hessian(x, y, weights, *, name, alpha, coupling, lam, gain):
    """M8, dense, over the flattened state."""
    inner = x @ y.T
    met = {"pooled": np.sum(weights * inner, axis=0), "pairwise": inner, "elementwise": x}[coupling]
    bend = curvature(name, gain * met, alpha)
    taken = interaction_matrix(y, weights, coupling, bend)
    return (1 + lam) * np.eye(x.size) - gain * taken
