"""Any energy as a flax.nnx layer: the output is where a descent of it ends."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from hopfield_attn.checks import check_at_least, check_count
from hopfield_attn.solvers.descent import Descent, descend
from hopfield_attn.solvers.gradient_modes import GradientMode, as_gradient_mode
from hopfield_attn.typing import Array, PyTree


class EnergyLayer(nnx.Module):
    """x_T of T gradient steps on a user's energy, with learned parameters.

    The energy is a pure function of ONE example, E(x, *context, **parameters) → scalar, without a
    batch axis; the layer maps it over the batch. What it should start from is the input.

    Attributes:
      parameters: name → ``nnx.Param``: what the energy gets as keywords.

    Example:
      >>> def energy(x, *, memories, log_beta):  # modern Hopfield network
      ...     beta = jnp.exp(log_beta)
      ...     return -jax.nn.logsumexp(beta * memories @ x) / beta + 0.5 * x @ x
      >>> layer = EnergyLayer(energy, {"memories": jnp.eye(3), "log_beta": jnp.array(3.0)},
      ...                     num_steps=3, step_size=1.0)
      >>> layer(jnp.array([[0.9, 0.2, 0.0], [0.1, 0.3, 0.8]])).round(2)
      Array([[1., 0., 0.],
             [0., 0., 1.]], dtype=float32)
    """

    def __init__(
        self,
        energy_fn: Callable[..., Array],
        parameters: Mapping[str, Array],
        *,
        num_steps: int,
        step_size: float,
        gradient_mode: str | GradientMode = "unrolled",
    ):
        """Makes the parameters trainable.

        Args:
          energy_fn: E(x, *context, **parameters) → scalar, of one example.
          parameters: initial values, by the keyword of ``energy_fn`` they belong to.
          num_steps: T ≥ 0.
          step_size: η > 0 of gradient descent.
          gradient_mode: how the steps are differentiated, see :func:`hopfield_attn.descend`.

        Raises:
          ValueError: for numbers out of range or an unknown gradient mode.
        """
        check_count(0, num_steps=num_steps)
        check_at_least(0, exclusive=True, step_size=step_size)
        self.energy_fn = energy_fn
        self.num_steps = num_steps
        self.step_size = step_size
        self.gradient_mode = as_gradient_mode(gradient_mode)
        self.parameters = nnx.Dict(
            {name: nnx.Param(jnp.asarray(value)) for name, value in parameters.items()}
        )

    def __call__(self, x: PyTree, *context: PyTree) -> PyTree:
        """Descends from ``x``.

        Args:
          x: the start, a pytree of arrays (b, …).
          *context: whatever else the energy reads, pytrees of arrays (b, …).

        Returns:
          The state after T steps, as ``x``.
        """
        return self.descent(x, *context).x

    def descent(self, x: PyTree, *context: PyTree) -> Descent:
        """The same with its energies, residuals and status, one a example."""
        parameters = {name: parameter[...] for name, parameter in self.parameters.items()}

        def solve(x: Any, *context: Any) -> Descent:
            return descend(
                lambda state: self.energy_fn(state, *context, **parameters),
                x,
                num_steps=self.num_steps,
                rule=optax.sgd(self.step_size),
                gradient_mode=self.gradient_mode,
            )

        return jax.vmap(solve)(x, *context)
