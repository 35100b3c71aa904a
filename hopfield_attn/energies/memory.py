"""Associative-memory energies: the state is one query ξ, the memories k_μ are stored patterns.

Each is written once, as the interaction Λ of the similarities of the query to the memories. Its
derivative gives the weights, the derivative of the energy the update.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.checks import (
    check_at_least,
    check_choice,
    check_floating,
    check_rank,
    check_shape,
)
from hopfield_attn.energies.entmax import SOFTMAX, check_alpha, tsallis_conjugate
from hopfield_attn.typing import Array, Bool, Float, Scalar, ScalarLike


class MemoryEnergy(NamedTuple):
    """A row of :data:`MEMORY_ENERGIES`.

    Attributes:
      interaction_fn: Λ(s, mask, β, **parameters), a scalar.
      similarity: "dot", s = ⟨k, ξ⟩ and E = −Λ(s) + ½‖ξ‖²; or "euclidean", s = −½‖ξ − k‖² and
        E = −Λ(s).
      on_sphere: whether retrieval keeps the state on the unit sphere, because E is unbounded below
        in R^d. Λ is convex, so ξ ← Kᵀw/‖Kᵀw‖ never raises the energy there.
      parameters: the names of its parameters, with their defaults.
    """

    interaction_fn: Callable[..., Array]
    similarity: str
    on_sphere: bool
    parameters: Mapping[str, float]


def memory_energy(
    query: Float[Array, " d"],
    memories: Float[Array, "m d"],
    *,
    energy: str,
    beta: ScalarLike,
    mask: Bool[Array, " m"] | None = None,
    **parameters: float,
) -> Scalar:
    """Energy of a query against stored patterns, of which retrieval is the descent.

    E(ξ) = −Λ(Kξ) + ½‖ξ‖², and one unit step of descent is ξ − ∇E = Kᵀw, w = ∂Λ/∂s:

    ==================  ======================================  ================================
    energy              Λ(s)                                    w
    ==================  ======================================  ================================
    modern_hopfield     (1/β) log Σ e^{βs}                      softmax(βs)
    fenchel_young       Ω*_α(βs)/β                              entmax_α(βs), default α = 1.5
    softmax1            (1/β) log(1 + Σ e^{βs})                 e^{βs}/(1 + Σ e^{βs})
    dense_polynomial    Σ relu(βs)^p/(pβ)                       relu(βs)^{p−1}, default p = 3
    dense_exponential   Σ e^{βs}/β                              e^{βs}
    epanechnikov        (1/β) log Σ relu(1 + βs)                [1 + βs > 0]/Σ relu(1 + βs)
    ==================  ======================================  ================================

    s = Kξ, but for epanechnikov, where s_μ = −½‖ξ − k_μ‖² and E = −Λ(s) without a norm term. It has
    compact support: farther than √(2/β) from every memory E = +∞ and the gradient is exactly 0. Its
    step is ξ − ∇E/Σw, the mean of the memories in reach.

    Published forms of the first two add the constant H_α(1/m)/β + ½ max‖k_μ‖² (H of
    :func:`hopfield_attn.energies.entmax.tsallis_conjugate`), with which E ≥ 0; it is left out.

    The two dense energies are unbounded below in R^d; :func:`hopfield_attn.ops.retrieve.retrieve`
    keeps their state on the unit sphere. dense_exponential overflows where βs does in ``exp``
    (88 in float32).

    Args:
      query: ξ, shape (d,).
      memories: K, one stored pattern a row, shape (m, d).
      energy: a key of :data:`MEMORY_ENERGIES`.
      beta: β > 0, inverse temperature.
      mask: (m,) bool, True for the memories that take part; where none does, Λ = 0.
      **parameters: ``alpha`` ≥ 1 of fenchel_young (1 is softmax, 2 sparsemax), ``degree`` p > 1 of
        dense_polynomial; Python numbers, static under ``jax.jit``.

    Returns:
      E in units of the similarity (nats/β), a scalar; float32 at least.

    Raises:
      TypeError: if an array is not floating-point, the mask not boolean, or a parameter not a
        Python number.
      ValueError: for shapes that do not fit, unknown names, β ≤ 0 or a parameter out of range.

    Example:
      >>> memories = jnp.array([[3.0, 0.0], [0.0, 3.0]])
      >>> query = jnp.array([2.0, 1.0])
      >>> E = lambda query: memory_energy(query, memories, energy="fenchel_young", beta=1.0)
      >>> query - jax.grad(E)(query)  # the sparse weights select the first memory alone
      Array([3., 0.], dtype=float32)

    Reference:
      H. Ramsauer et al., *Hopfield Networks is All You Need*, ICLR 2021 (modern_hopfield);
      S. Santos et al., *Hopfield–Fenchel–Young Networks*, 2024 (fenchel_young);
      J. Y.-C. Hu et al., *Outlier-Efficient Hopfield Layers*, ICML 2024 (softmax1);
      D. Krotov, J. Hopfield, *Dense Associative Memory for Pattern Recognition*, NeurIPS 2016
      (dense_polynomial); M. Demircigil et al., *On a Model of Associative Memory with Huge Storage
      Capacity*, 2017 (dense_exponential); B. Hoover et al., *Dense Associative Memory with
      Epanechnikov Energy*, 2025 (epanechnikov).
    """
    problem = _prepare(query, memories, energy=energy, beta=beta, mask=mask, parameters=parameters)
    interaction = problem.interaction_fn(problem.similarities)
    if MEMORY_ENERGIES[energy].similarity == "euclidean":
        return -interaction
    return -interaction + 0.5 * jnp.sum(jnp.square(query.astype(interaction.dtype)))


def memory_weights(
    query: Float[Array, " d"],
    memories: Float[Array, "m d"],
    *,
    energy: str,
    beta: ScalarLike,
    mask: Bool[Array, " m"] | None = None,
    **parameters: float,
) -> Float[Array, " m"]:
    """The weights of the memories, w = ∂Λ/∂s, as ``jax.grad`` of the interaction gives them.

    Arguments and errors are those of :func:`memory_energy`, which lists w for each energy.

    Returns:
      w, shape (m,), zero where masked; float32 at least.

    Example:
      >>> memory_weights(jnp.zeros(2), jnp.eye(2), energy="modern_hopfield", beta=1.0)
      Array([0.5, 0.5], dtype=float32)
    """
    problem = _prepare(query, memories, energy=energy, beta=beta, mask=mask, parameters=parameters)
    return jax.grad(problem.interaction_fn)(problem.similarities)


def check_memory_energy(energy: str, parameters: Mapping[str, Any]) -> dict[str, float]:
    """Returns all parameters of the named energy, defaults included; raises for wrong ones.

    Example:
      >>> check_memory_energy("fenchel_young", {})
      {'alpha': 1.5}
    """
    check_choice("energy", energy, MEMORY_ENERGIES)
    known = MEMORY_ENERGIES[energy].parameters
    for name in parameters:
        if name not in known:
            takes = ", ".join(repr(known_name) for known_name in known) or "no parameters"
            raise ValueError(f"energy {energy!r} takes {takes}; got {name!r}")
    complete = {**known, **parameters}
    if "alpha" in complete:
        check_alpha(complete["alpha"])
    if "degree" in complete:
        degree = complete["degree"]
        if isinstance(degree, bool) or not isinstance(degree, (int, float)):
            raise TypeError(f"degree must be a Python number; got {type(degree).__name__}")
        check_at_least(1, exclusive=True, degree=degree)
    return complete


def _modern_hopfield(s: Array, mask: Array, beta: Array) -> Array:
    """Λ = (1/β) log Σ e^{βs}."""
    return tsallis_conjugate(beta * s, SOFTMAX, where=mask) / beta


def _fenchel_young(s: Array, mask: Array, beta: Array, *, alpha: float) -> Array:
    """Λ = Ω*_α(βs)/β."""
    return tsallis_conjugate(beta * s, alpha, where=mask) / beta


def _softmax1(s: Array, mask: Array, beta: Array) -> Array:
    """Λ = (1/β) log(1 + Σ e^{βs}): one more memory, the origin."""
    s, mask = jnp.pad(s, (1, 0)), jnp.pad(mask, (1, 0), constant_values=True)
    return tsallis_conjugate(beta * s, SOFTMAX, where=mask) / beta


def _dense_polynomial(s: Array, mask: Array, beta: Array, *, degree: float) -> Array:
    """Λ = Σ relu(βs)^p/(pβ)."""
    positive = mask & (s > 0)
    # The inner where keeps the powers' derivatives at 0 out: 0 · inf is NaN.
    powers = jnp.where(positive, beta * s, 1.0) ** degree
    return jnp.sum(jnp.where(positive, powers, 0.0)) / (degree * beta)


def _dense_exponential(s: Array, mask: Array, beta: Array) -> Array:
    """Λ = Σ e^{βs}/β."""
    return jnp.sum(jnp.where(mask, jnp.exp(beta * s), 0.0)) / beta


def _epanechnikov(s: Array, mask: Array, beta: Array) -> Array:
    """Λ = (1/β) log Σ relu(1 + βs), −∞ outside every support, 0 without memories."""
    total = jnp.sum(jnp.where(mask, jax.nn.relu(1.0 + beta * s), 0.0))
    outside = jnp.where(jnp.any(mask), -jnp.inf, 0.0)
    return jnp.where(total > 0, jnp.log(jnp.where(total > 0, total, 1.0)) / beta, outside)


MEMORY_ENERGIES: dict[str, MemoryEnergy] = {
    "modern_hopfield": MemoryEnergy(_modern_hopfield, "dot", False, {}),
    "fenchel_young": MemoryEnergy(_fenchel_young, "dot", False, {"alpha": 1.5}),
    "softmax1": MemoryEnergy(_softmax1, "dot", False, {}),
    "dense_polynomial": MemoryEnergy(_dense_polynomial, "dot", True, {"degree": 3}),
    "dense_exponential": MemoryEnergy(_dense_exponential, "dot", True, {}),
    "epanechnikov": MemoryEnergy(_epanechnikov, "euclidean", False, {}),
}
"""Energy name → its row."""


class _Problem(NamedTuple):
    similarities: Array
    interaction_fn: Callable[[Array], Array]


def _prepare(
    query: Any, memories: Any, *, energy: str, beta: Any, mask: Any, parameters: Mapping[str, Any]
) -> _Problem:
    """Checks the arguments; returns the similarities and Λ as a function of them alone."""
    complete = check_memory_energy(energy, parameters)
    check_floating(query=query, memories=memories)
    check_rank(1, "d", query=query)
    check_rank(2, "m, d", memories=memories)
    if query.shape[0] != memories.shape[1]:
        raise ValueError(
            "query and memories must have the same width d; "
            f"got {query.shape[0]} and {memories.shape[1]}"
        )
    check_at_least(0, exclusive=True, beta=beta)
    if jnp.ndim(beta) != 0:
        raise ValueError(f"beta must be a scalar; got shape {jnp.shape(beta)}")
    row, (m, _) = MEMORY_ENERGIES[energy], memories.shape
    dtype = jnp.promote_types(jnp.result_type(query, memories), jnp.float32)
    query, memories = query.astype(dtype), memories.astype(dtype)
    if mask is None:
        mask = jnp.ones((m,), bool)
    if jnp.result_type(mask) != jnp.bool_:
        raise TypeError(f"mask must be boolean (True: takes part); got {jnp.result_type(mask)}")
    check_shape("mask", mask, (m,), "m")
    # A padded row may hold anything, NaN included.
    memories = jnp.where(mask[:, None], memories, 0.0)
    beta = jnp.asarray(beta, dtype)
    return _Problem(
        similarities=SIMILARITIES[row.similarity](query, memories),
        interaction_fn=lambda s: row.interaction_fn(s, mask, beta, **complete),
    )


SIMILARITIES: dict[str, Callable[[Array, Array], Array]] = {
    "dot": lambda query, memories: memories @ query,
    # Differences, not ‖ξ‖² − 2⟨k, ξ⟩ + ‖k‖²: that loses the digits that decide who is in reach.
    "euclidean": lambda query, memories: (
        -0.5 * jnp.sum(jnp.square(query[None, :] - memories), axis=-1)
    ),
}
"""Similarity name → s(ξ, K), one number a memory."""
