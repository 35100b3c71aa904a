"""The reference implementation: ``jax.grad`` of the one energy, vmapped over heads and examples."""

from typing import NamedTuple

import optax

from hopfield_attn.ops.heads import make_head
from hopfield_attn.ops.problem import Call, DescentOptions, HeadInputs, solve_heads, weights_of
from hopfield_attn.solvers.descent import descend
from hopfield_attn.typing import Array, Float, Int, State


class AttentionDescent(NamedTuple):
    """The descents of a batch of heads; every field has leading axes (b, h).

    Attributes:
      x: states after T steps, (b, h, n, d_v).
      energies: E at steps 0, …, T, (b, h, T+1).
      grad_norms: ‖∇E‖ at steps 0, …, T, (b, h, T+1).
      status: as of :class:`hopfield_attn.Descent`, (b, h).
      lam: λ that was used, (b, h): what "auto" chose, or what was given.
      step_size: η that was used, (b, h).
    """

    x: Float[Array, "b h n dv"]
    energies: Float[Array, "b h T+1"]
    grad_norms: Float[Array, "b h T+1"]
    status: Int[Array, "b h"]
    lam: Float[Array, "b h"]
    step_size: Float[Array, "b h"]


def autodiff_descent(call: Call, options: DescentOptions) -> AttentionDescent:
    """T gradient steps on (M1) from x₀ = A y, for every head of every example.

    Args:
      call: the arrays.
      options: T, λ, η, coupling, gradient mode.

    Returns:
      An :class:`AttentionDescent`.
    """
    return solve_heads(lambda inputs: _descend_head(inputs, options), call, options)


def autodiff(inputs: HeadInputs, options: DescentOptions) -> State:
    """x_T of one head by ``jax.grad`` of the energy in a scan: what the others are held to.

    Args:
      inputs: the arrays of the head.
      options: T, λ, η, coupling, gradient mode.
    """
    return _descend_head(inputs, options).x


def _descend_head(inputs: HeadInputs, options: DescentOptions) -> AttentionDescent:
    head = make_head(
        weights_of(inputs, options),
        inputs.value,
        inputs.nonlinearity,
        coupling=options.coupling,
        lam=options.lam,
        step_size=options.step_size,
        gain=options.gain,
    )
    descent = descend(
        head.energy_fn,
        head.start,
        rule=optax.sgd(head.step_size),
        num_steps=options.num_steps,
        gradient_mode=options.gradient_mode,
    )
    return AttentionDescent(*descent, lam=head.lam, step_size=head.step_size)
