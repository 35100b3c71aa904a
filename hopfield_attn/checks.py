"""Argument checks: each error names what was expected and what came."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def printable(text: str) -> str:
    r"""Text from a file for one line of a log or an error: a terminal shows it and obeys nothing.

    Example:
      >>> print(printable("λ \x1b[2J\n"))
      λ \x1b[2J\n
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_choice(argument: str, value: str, known: Iterable[str]) -> None:
    """Raises ``ValueError`` that lists the known names unless ``value`` is one of them."""
    known = list(known)
    if value not in known:
        listed = ", ".join(repr(name) for name in known)
        raise ValueError(
            f"{argument} must be one of {listed}; got {value!r}{did_you_mean(str(value), known)}"
        )


def check_floating(**arrays: Any) -> None:
    """Raises ``TypeError`` for the first array whose dtype is not a real floating-point one."""
    for name, array in arrays.items():
        dtype = jnp.result_type(array)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"{name} must be a floating-point array; got dtype {dtype}")


def check_rank(rank: int, axes: str, **arrays: Any) -> None:
    """Raises ``ValueError`` for the first array that does not have ``rank`` axes."""
    for name, array in arrays.items():
        if jnp.ndim(array) != rank:
            raise ValueError(f"{name} must have shape ({axes}); got shape {jnp.shape(array)}")


def check_shape(name: str, array: Any, shape: tuple[int, ...], axes: str) -> None:
    """Raises ``ValueError`` unless ``array`` has exactly ``shape``."""
    if jnp.shape(array) != shape:
        raise ValueError(f"{name} must have shape ({axes}) = {shape}; got shape {jnp.shape(array)}")


def check_at_least(minimum: float, *, exclusive: bool = False, **numbers: Any) -> None:
    """Raises ``ValueError`` for the first concrete number below ``minimum``.

    A traced value has no number to check yet and passes; ``None`` passes as well.
    """
    for name, number in numbers.items():
        if number is None or isinstance(number, jax.core.Tracer):
            continue
        values = np.asarray(number)
        if not jnp.issubdtype(values.dtype, jnp.number):
            raise TypeError(f"{name} must be a number; got {reprlib.repr(number)}")
        # NaN fails too: every comparison with NaN is false.
        if not np.all(values > minimum if exclusive else values >= minimum):
            raise ValueError(f"{name} must be {'>' if exclusive else '>='} {minimum}; got {number}")


def check_single(**numbers: Any) -> None:
    """Raises ``ValueError`` for an array of more than one number; ``None`` and a name pass."""
    for name, number in numbers.items():
        if number is not None and not isinstance(number, str) and jnp.ndim(number):
            raise ValueError(f"{name} must be a single number; got shape {jnp.shape(number)}")


def check_count(minimum: int, **counts: Any) -> None:
    """Raises unless each count is a Python integer of at least ``minimum``."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(
                f"{name} must be an int; got {reprlib.repr(count)} of {type(count).__name__}"
            )
        if count < minimum:
            raise ValueError(f"{name} must be >= {minimum}; got {count}")
