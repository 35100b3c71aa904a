"""How the gradient of a solution is taken: through all steps, through some, or through none."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.checks import check_choice, check_count
from hopfield_attn.solvers.precision import at_least_float32
from hopfield_attn.typing import PyTree


class GradientMode(NamedTuple):
    """How a solver's result is differentiated; the result itself is the same for all modes.

    Attributes:
      name: a key of :data:`GRADIENT_MODES`.
      num_steps: "truncated": how many of the last steps are differentiated.
    """

    name: str
    num_steps: int | None = None


GRADIENT_MODES = {
    "unrolled": "through every step; memory grows with T",
    "rematerialised": "through every step, each computed again; memory is one state a step",
    "truncated": "through the last k steps only: truncated(k)",
    "one_step": "through the last step only (Bolte et al. 2023)",
    "implicit": "by the implicit-function theorem at the result; memory does not depend on T",
}
"""Mode → what it differentiates."""


def truncated(num_steps: int) -> GradientMode:
    """The mode that differentiates through the last ``num_steps`` steps.

    Args:
      num_steps: k ≥ 1; k = 1 is "one_step", k ≥ T is "unrolled".

    Example:
      >>> truncated(3)
      GradientMode(name='truncated', num_steps=3)
    """
    check_count(1, num_steps=num_steps)
    return GradientMode("truncated", num_steps)


def as_gradient_mode(mode: str | GradientMode) -> GradientMode:
    """Returns the :class:`GradientMode` of a name; passes one through.

    Raises:
      ValueError: for an unknown name, and for "truncated" without a number of steps.

    Example:
      >>> as_gradient_mode("one_step")
      GradientMode(name='truncated', num_steps=1)
    """
    if isinstance(mode, str):
        mode = GradientMode(mode)
    check_choice("gradient_mode", mode.name, GRADIENT_MODES)
    if mode.name == "truncated" and mode.num_steps is None:
        raise ValueError(
            "gradient_mode='truncated' needs a number of steps: gradient_mode=truncated(k)"
        )
    return truncated(1) if mode.name == "one_step" else mode


def detach(fn: Callable[[PyTree], Any], x0: PyTree) -> Callable[[PyTree], Any]:
    """The same function without derivatives in anything that ``fn`` closes over.

    ``stop_gradient`` on the result of a solver is not enough: reverse mode would still keep what
    the steps need for their derivatives, and a ``while_loop`` has no reverse mode at all.
    """
    converted, constants = jax.closure_convert(fn, x0)
    constants = jax.lax.stop_gradient(constants)
    return lambda x: converted(x, *constants)


def attach_implicit(
    gradient_fn: Callable[[PyTree], PyTree], x: PyTree, *, max_steps: int = 100
) -> PyTree:
    """Returns ``x`` with the first derivatives of a stationary point: ∇E(x) = 0.

    Where ∇E(x; θ) = 0, dx/dθ = −(∇²E)⁻¹ ∂∇E/∂θ. The system with the Hessian, symmetric and at a
    minimum positive definite, is solved by conjugate gradients on Hessian–vector products. Away
    from a stationary point the derivative is that of the formula, not of ``x``.

    Args:
      gradient_fn: x → ∇E(x), ``jax.grad`` of an energy or a formula for it; what it closes over
        gets the derivatives.
      x: the stationary point; derivatives of its own are dropped.
      max_steps: conjugate-gradient steps at most.
    """
    given = jax.lax.stop_gradient(x)
    # In half precision the system would be solved to one digit.
    x = at_least_float32(given)
    # The Hessian is symmetric, so reverse mode multiplies with it: a formula with a reverse pass
    # by hand has no forward mode.
    _, pull = jax.vjp(detach(gradient_fn, x), x)
    # Zero in value, so that no solve runs forward; its derivative in θ is that of ∇E.
    shift = jax.tree.map(lambda g: g - jax.lax.stop_gradient(g), gradient_fn(x))
    dtype = jnp.result_type(*jax.tree.leaves(x))
    tolerance = 100 * float(jnp.finfo(dtype).eps)
    solution, _ = jax.scipy.sparse.linalg.cg(
        lambda v: pull(v)[0], shift, tol=tolerance, maxiter=max_steps
    )
    return jax.tree.map(lambda a, b, c: (a - b).astype(c.dtype), x, solution, given)
