"""Axis legend and array types shared by the whole package.

Axis letters, as they appear in annotations and in einsum expressions:

=====  ======================================================================
``b``  batch: examples
``h``  attention heads
``n``  queries (rows of the state x)
``m``  keys (stored rows y)
``d``  width of one head: ``dk`` of queries and keys, ``dv`` of values
``T``  iterations of a solver; ``T+1`` counts the start as well
=====  ======================================================================
"""

from collections.abc import Callable
from typing import Any

from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree

ScalarLike = float | int | Array
"""A Python number or an array of shape ()."""

Scalar = Float[Array, ""]
State = Float[Array, "n dv"]
Values = Float[Array, "m dv"]
Weights = Float[Array, "n m"]

BatchedQuery = Float[Array, "b n h dk"]
BatchedKey = Float[Array, "b m h dk"]
BatchedValue = Float[Array, "b m h dv"]
BatchedOutput = Float[Array, "b n h dv"]
BatchedWeights = Float[Array, "b h n m"]
QueryMask = Bool[Array, "b n"]
KeyMask = Bool[Array, "b m"]

EnergyFn = Callable[[Any], Scalar]
"""Maps a state (any pytree of floating-point arrays) to its energy, a scalar."""

__all__ = [
    "Array",
    "BatchedKey",
    "BatchedOutput",
    "BatchedQuery",
    "BatchedValue",
    "BatchedWeights",
    "Bool",
    "DTypeLike",
    "EnergyFn",
    "Float",
    "Int",
    "KeyMask",
    "PyTree",
    "QueryMask",
    "Scalar",
    "ScalarLike",
    "State",
    "Values",
    "Weights",
]
