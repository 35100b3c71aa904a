"""For which kind of device a program is made: some choices depend on it."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

from hopfield_attn.checks import check_choice

PLATFORMS = ("cpu", "gpu", "tpu")

_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("platform", default=None)


def target_platform() -> str:
    """The platform that is compiled for: "cpu", "gpu" or "tpu"; jax's default back end.

    Example:
      >>> with compiling_for("tpu"):
      ...     target_platform()
      'tpu'
    """
    return _chosen.get() or {"cuda": "gpu", "rocm": "gpu"}.get(
        jax.default_backend(), jax.default_backend()
    )


@contextlib.contextmanager
def compiling_for(platform: str) -> Iterator[None]:
    """Makes the choices of another platform while a function is traced.

    For ahead-of-time compilation on a machine without the device. What was traced before, outside,
    keeps its choices: jit the function anew inside.

    Args:
      platform: "cpu", "gpu" or "tpu".

    Raises:
      ValueError: for another name.
    """
    check_choice("platform", platform, PLATFORMS)
    token = _chosen.set(platform)
    try:
        yield
    finally:
        _chosen.reset(token)
