"""The reference implementation: ``jax.grad`` of the one energy, vmapped over heads and examples."""

from typing import Any, NamedTuple

import optax

from hopfield_attn.energies.nonlinearities import Nonlinearity
from hopfield_attn.ops.heads import Head, make_head, over_heads
from hopfield_attn.ops.problem import DescentOptions, HeadInputs, weights_of
from hopfield_attn.solvers.descent import descend
from hopfield_attn.solvers.gradient_modes import GradientMode
from hopfield_attn.typing import Array, BatchedWeights, Float, Int, ScalarLike, State


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


def autodiff_descent(
    weights: BatchedWeights,
    value: Float[Array, "b h m dv"],
    *,
    nonlinearity: Nonlinearity,
    coupling: str,
    lam: ScalarLike | str,
    num_steps: int,
    step_size: ScalarLike | str | None,
    gain: ScalarLike | None,
    gradient_mode: str | GradientMode,
) -> AttentionDescent:
    """T gradient steps on (M1) from x₀ = A y, for every head of every example.

    Args:
      weights: A, (b, h, n, m).
      value: y, (b, h, m, d_v), zero where the key is masked.
      nonlinearity: F; its α is a scalar or one number a head, (h,).
      coupling: "pooled", "pairwise" or "elementwise".
      lam: λ ≥ 0, or "auto".
      num_steps: T ≥ 0.
      step_size: η > 0, "auto", or ``None`` for 1/(1+λ).
      gain: s > 0, or ``None`` for 1/d_v.
      gradient_mode: of :func:`hopfield_attn.descend`.

    Returns:
      An :class:`AttentionDescent`.
    """
    options: dict[str, Any] = {
        "coupling": coupling,
        "lam": lam,
        "step_size": step_size,
        "gain": gain,
    }
    limits: dict[str, Any] = {"num_steps": num_steps, "gradient_mode": gradient_mode}

    def solve(weights: Array, value: Array, nonlinearity: Nonlinearity) -> AttentionDescent:
        return _descend_head(make_head(weights, value, nonlinearity, **options), **limits)

    return over_heads(solve, weights, value, nonlinearity)


def autodiff(inputs: HeadInputs, options: DescentOptions) -> State:
    """x_T of one head by ``jax.grad`` of the energy in a scan: what the others are held to.

    Args:
      inputs: the arrays of the head.
      options: T, λ, η, coupling, gradient mode.
    """
    head = make_head(
        weights_of(inputs, options),
        inputs.value,
        inputs.nonlinearity,
        coupling=options.coupling,
        lam=options.lam,
        step_size=options.step_size,
        gain=options.gain,
    )
    num_steps, mode = options.num_steps, options.gradient_mode
    return _descend_head(head, num_steps=num_steps, gradient_mode=mode).x


def _descend_head(head: Head, **limits: Any) -> AttentionDescent:
    descent = descend(head.energy_fn, head.start, rule=optax.sgd(head.step_size), **limits)
    return AttentionDescent(*descent, lam=head.lam, step_size=head.step_size)
