"""Retrieval from stored patterns: descent on an associative-memory energy, for batches."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hopfield_attn.checks import check_at_least, check_count, check_floating
from hopfield_attn.energies.memory import (
    MEMORY_ENERGIES,
    check_memory_energy,
    memory_energy,
    memory_weights,
)
from hopfield_attn.energies.separation import separating_beta
from hopfield_attn.solvers.descent import descend
from hopfield_attn.typing import Array, Bool, Float, Int, ScalarLike


class Retrieval(NamedTuple):
    """The outcome of a retrieval; one entry a query.

    Attributes:
      x: the state after all updates, (..., n, d), or with values the read-out, (..., n, d_v).
      energies: E of the query before each update and after the last, (..., n, updates + 1).
      weights: w at the last state, (..., n, m); for epanechnikov divided by their sum.
      status: 0 the energy never rose, 1 it rose, 2 an energy or gradient is not finite (a query
        out of reach of every memory, with epanechnikov); (..., n), names in
        ``hopfield_attn.solvers.descent.STATUS_NAMES``.
    """

    x: Float[Array, "*batch n dv"]
    energies: Float[Array, "*batch n updates+1"]
    weights: Float[Array, "*batch n m"]
    status: Int[Array, "*batch n"]


def retrieve(
    query: Float[Array, "*#batch n d"],
    memories: Float[Array, "*#batch m d"],
    *,
    values: Float[Array, "*#batch m dv"] | None = None,
    energy: str = "modern_hopfield",
    beta: ScalarLike | str,
    num_steps: int,
    mask: Bool[Array, "*#batch m"] | None = None,
    normalize: bool = False,
    on_sphere: bool | None = None,
    **parameters: float,
) -> Float[Array, "*batch n dv"]:
    """Retrieves patterns from memories: each query descends its energy against them.

    ξ ← ξ − ∇E(ξ), with E of :func:`hopfield_attn.energies.memory.memory_energy` and its gradient
    from ``jax.grad``: Kᵀw. On the unit sphere the update is Kᵀw/‖Kᵀw‖, and for epanechnikov
    ξ − ∇E/Σw. With values v the last of the T steps reads out instead: wᵀv; so one step of the
    modern Hopfield energy with values is attention, softmax(β q kᵀ) v.

    Leading axes are batch axes and broadcast.

    Args:
      query: (..., n, d).
      memories: (..., m, d).
      values: (..., m, d_v): what is stored under each memory; ``None`` returns the state.
      energy: a key of ``MEMORY_ENERGIES``.
      beta: β > 0, inverse temperature: a number, an array that broadcasts to the leading axes (one
        a head), or "auto", :func:`separating_beta` of the memories, held constant in derivatives.
      num_steps: T: updates without values (≥ 0), updates and the read-out with values (≥ 1).
      mask: (..., m) bool, True for the memories that take part.
      normalize: scale queries and memories (not the values) to unit norm first.
      on_sphere: keep the state on the unit sphere; ``None`` does for the dense energies, which are
        unbounded below elsewhere. Not for epanechnikov.
      **parameters: of the energy, Python numbers: ``alpha``, ``degree``.

    Returns:
      (..., n, d), with values (..., n, d_v), in the dtype of ``query``; bfloat16 and float16 are
      computed in float32.

    Raises:
      TypeError: for arrays that are not floating-point, a mask that is not boolean, a num_steps
        that is not an int.
      ValueError: for shapes that do not fit, unknown names and numbers out of range.

    Example:
      >>> memories = jnp.array([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]])
      >>> noisy = jnp.array([[0.7, 1.2, -0.6]])
      >>> retrieve(noisy, memories, beta=4.0, num_steps=3).round(3)
      Array([[ 1.,  1., -1.]], dtype=float32)

    Reference:
      H. Ramsauer et al., *Hopfield Networks is All You Need*, ICLR 2021.
    """
    retrieval = retrieval_descent(
        query,
        memories,
        values=values,
        energy=energy,
        beta=beta,
        num_steps=num_steps,
        mask=mask,
        normalize=normalize,
        on_sphere=on_sphere,
        **parameters,
    )
    return retrieval.x.astype(query.dtype)


def retrieval_descent(
    query: Float[Array, "*#batch n d"],
    memories: Float[Array, "*#batch m d"],
    *,
    values: Float[Array, "*#batch m dv"] | None = None,
    energy: str = "modern_hopfield",
    beta: ScalarLike | str,
    num_steps: int,
    mask: Bool[Array, "*#batch m"] | None = None,
    normalize: bool = False,
    on_sphere: bool | None = None,
    **parameters: float,
) -> Retrieval:
    """:func:`retrieve` with its whole trajectory: energies, weights, status.

    Arguments and errors are those of :func:`retrieve`.

    Returns:
      A :class:`Retrieval`, float32 at least. With values there is one update less than
      ``num_steps``.

    Example:
      >>> memories = jnp.array([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]])
      >>> found = retrieval_descent(memories + 0.3, memories, beta=4.0, num_steps=3)
      >>> found.energies.shape, found.weights.round(2)
      ((2, 4), Array([[1., 0.], [0., 1.]], dtype=float32))
    """
    parameters = check_memory_energy(energy, parameters)
    on_sphere = _check_options(energy, num_steps, values, on_sphere)
    batch = _check_arrays(query, memories, values, mask, beta)
    dtype = jnp.promote_types(jnp.result_type(query, memories), jnp.float32)
    query, memories = query.astype(dtype), memories.astype(dtype)
    if normalize:
        query, memories = _unit(query), _unit(memories)
    if isinstance(beta, str):
        beta = jax.lax.stop_gradient(separating_beta(memories, mask=mask))
    solve = functools.partial(
        _retrieve_one,
        energy=energy,
        num_updates=num_steps - (values is not None),
        on_sphere=on_sphere,
        parameters=parameters,
    )
    over_queries = jax.vmap(solve, in_axes=(0, None, None, None, None))
    operands = query, memories, values, mask, jnp.asarray(beta, dtype)
    return _map_batch(over_queries, batch, operands, ranks=(2, 2, 2, 1, 0))


def _retrieve_one(
    query: Array,
    memories: Array,
    values: Array | None,
    mask: Array | None,
    beta: Array,
    *,
    energy: str,
    num_updates: int,
    on_sphere: bool,
    parameters: dict[str, float],
) -> Retrieval:
    """The retrieval of one query, (d,)."""
    options: dict[str, Any] = {"energy": energy, "beta": beta, "mask": mask, **parameters}
    energy_fn = functools.partial(memory_energy, memories=memories, **options)

    def weights_fn(x: Array) -> Array:
        return memory_weights(x, memories, **options)

    averages = MEMORY_ENERGIES[energy].similarity == "euclidean"
    if on_sphere:
        query, rule = _unit(query), _make_rule(_sphere_update)
    elif averages:
        rule = _make_rule(lambda x, grad: x - grad * _reciprocal(jnp.sum(weights_fn(x))))
    else:
        rule = optax.sgd(1.0)
    descent = descend(energy_fn, query, num_steps=num_updates, rule=rule)
    weights = weights_fn(descent.x)
    if averages:
        weights = weights * _reciprocal(jnp.sum(weights))
    x = descent.x
    if values is not None:
        kept = values if mask is None else jnp.where(mask[:, None], values, 0.0)
        x = weights @ kept.astype(weights.dtype)
    return Retrieval(x, descent.energies, weights, descent.status)


def _make_rule(update_fn: Callable[[Array, Array], Array]) -> optax.GradientTransformation:
    """The optax rule of a map (x, ∇E(x)) → the next x."""

    def update(grad: Array, state: Any, x: Array) -> tuple[Array, Any]:
        return update_fn(x, grad) - x, state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def _sphere_update(x: Array, grad: Array) -> Array:
    """Kᵀw/‖Kᵀw‖; where no memory has a weight the state is stationary and stays."""
    step = x - grad
    return jnp.where(jnp.any(step != 0), _unit(step), x)


def _unit(x: Array) -> Array:
    """Rows of norm one; a row of zeros stays zero, with finite derivatives."""
    # Dividing by the largest entry first: squares of large entries overflow.
    largest = jnp.max(jnp.abs(x), axis=-1, keepdims=True, initial=0.0)
    x = x * jax.lax.stop_gradient(_reciprocal(largest))
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return x * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _reciprocal(x: Array) -> Array:
    """1/x, and 0 for 0."""
    return jnp.where(x == 0, 0.0, 1.0 / jnp.where(x == 0, 1.0, x))


def _map_batch(
    fn: Callable[..., Retrieval],
    batch: tuple[int, ...],
    operands: Sequence[Array | None],
    *,
    ranks: tuple[int, ...],
) -> Retrieval:
    """``fn`` vmapped over the leading axes of arrays that broadcast, without copying any."""
    if not batch:
        return fn(*operands)
    axes: list[int | None] = []
    inner: list[Array | None] = []
    for operand, rank in zip(operands, ranks, strict=True):
        has_axis = operand is not None and operand.ndim - rank == len(batch)
        mapped = has_axis and operand is not None and operand.shape[0] == batch[0]
        axes.append(0 if mapped else None)
        inner.append(operand[0] if operand is not None and has_axis and not mapped else operand)
    mapped_fn = functools.partial(_map_batch, fn, batch[1:], ranks=ranks)
    return jax.vmap(lambda *args: mapped_fn(args), in_axes=tuple(axes))(*inner)


def _check_options(energy: str, num_steps: int, values: Any, on_sphere: bool | None) -> bool:
    """Returns whether the state stays on the sphere; raises for options that do not fit."""
    check_count(0, num_steps=num_steps)
    if values is not None and num_steps == 0:
        raise ValueError("num_steps must be >= 1 with values, the last step reads them out; got 0")
    row = MEMORY_ENERGIES[energy]
    if on_sphere and row.similarity == "euclidean":
        raise ValueError(f"on_sphere is for dot-product energies; got energy={energy!r}")
    return row.on_sphere if on_sphere is None else on_sphere


def _check_arrays(query: Any, memories: Any, values: Any, mask: Any, beta: Any) -> tuple[int, ...]:
    """Returns the batch axes all arrays broadcast to; raises where they do not fit."""
    arrays = {"query": query, "memories": memories}
    if values is not None:
        arrays["values"] = values
    check_floating(**arrays)
    for name, array in arrays.items():
        if jnp.ndim(array) < 2:
            raise ValueError(f"{name} must have shape (..., rows, width); got {jnp.shape(array)}")
    if query.shape[-1] != memories.shape[-1]:
        raise ValueError(
            "query and memories must have the same width d; "
            f"got {query.shape[-1]} and {memories.shape[-1]}"
        )
    m = memories.shape[-2]
    if values is not None and values.shape[-2] != m:
        raise ValueError(f"values must have one row a memory, {m}; got {values.shape[-2]}")
    leading = {name: jnp.shape(array)[:-2] for name, array in arrays.items()}
    if mask is not None:
        if jnp.result_type(mask) != jnp.bool_:
            raise TypeError(f"mask must be boolean (True: takes part); got {jnp.result_type(mask)}")
        if jnp.ndim(mask) < 1 or mask.shape[-1] != m:
            raise ValueError(f"mask must have shape (..., {m}); got shape {jnp.shape(mask)}")
        leading["mask"] = mask.shape[:-1]
    batch = _broadcast(leading)
    if isinstance(beta, str):
        if beta != "auto":
            raise ValueError(f"beta must be a positive number, an array or 'auto'; got {beta!r}")
        return batch
    check_at_least(0, exclusive=True, beta=beta)
    if _broadcast(leading | {"beta": jnp.shape(beta)}) != batch:
        raise ValueError(
            f"beta must broadcast to the leading axes {batch}; got shape {jnp.shape(beta)}"
        )
    return batch


def _broadcast(leading: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return jnp.broadcast_shapes(*leading.values())
    except ValueError:
        listed = ", ".join(f"{name} {shape}" for name, shape in leading.items())
        raise ValueError(f"the leading axes must broadcast; got {listed}") from None
