"""The Energy Transformer block: all tokens descend one energy, as a flax.nnx module."""

import jax
import jax.numpy as jnp
from flax import nnx

from hopfield_attn.checks import check_at_least, check_count
from hopfield_attn.energies.energy_transformer import (
    energy_transformer_energy,
    layer_norm_lagrangian,
)
from hopfield_attn.typing import Array, Bool, Float, Scalar


class EnergyTransformerBlock(nnx.Module):
    """A block whose output is the end of a descent: x ← x − η ∂E/∂g, g = layer norm of x.

    E is :func:`hopfield_attn.energies.energy_transformer.energy_transformer_energy` and g the
    gradient of :func:`hopfield_attn.energies.energy_transformer.layer_norm_lagrangian`. As that
    Lagrangian is convex, E falls along the steps while η is small. There is no value matrix, and
    the block replaces attention, feed-forward layer and residual connection at once.

    Attributes:
      query, key: W^Q and W^K, shape (num_heads, head_width, width), float32.
      memories: ξ of the Hopfield block, shape (num_memories, width), float32.
      log_beta: log β, one a head, shape (num_heads,), float32.
      log_scale: log γ of the layer norm, a scalar: γ stays positive.
      bias: δ of the layer norm, shape (width,), float32.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        head_width: int | None = None,
        num_memories: int | None = None,
        num_steps: int = 12,
        step_size: float = 0.1,
        beta: float | None = None,
        include_self: bool = False,
        epsilon: float = 1e-5,
        rngs: nnx.Rngs,
    ):
        """Creates the parameters.

        Args:
          width: D, the width of the tokens.
          num_heads: h.
          head_width: d_k; ``None`` is width / num_heads.
          num_memories: m; ``None`` is 4 · width, as in a feed-forward layer.
          num_steps: T ≥ 0.
          step_size: η > 0; 0.1 and twelve steps are the published setting.
          beta: β > 0 at the start; ``None`` is 1/√d_k.
          include_self: let a token attend to itself.
          epsilon: ε of the layer norm.
          rngs: source of the initial parameters (stream ``params``).

        Raises:
          TypeError: for counts that are not ints.
          ValueError: for numbers out of range, or a width that is not divisible.

        Reference:
          B. Hoover et al., *Energy Transformer*, NeurIPS 2023.
        """
        check_count(1, width=width, num_heads=num_heads)
        if head_width is None:
            if width % num_heads:
                raise ValueError(
                    f"width must be divisible by num_heads; got {width} and {num_heads}"
                )
            head_width = width // num_heads
        num_memories = 4 * width if num_memories is None else num_memories
        beta = head_width**-0.5 if beta is None else beta
        check_count(1, head_width=head_width, num_memories=num_memories)
        check_count(0, num_steps=num_steps)
        check_at_least(0, exclusive=True, step_size=step_size, beta=beta)
        self.num_steps = num_steps
        self.step_size = step_size
        self.include_self = include_self
        self.epsilon = epsilon
        normal = nnx.initializers.normal(0.02)
        shape = num_heads, head_width, width
        self.query = nnx.Param(normal(rngs.params(), shape, jnp.float32))
        self.key = nnx.Param(normal(rngs.params(), shape, jnp.float32))
        self.memories = nnx.Param(normal(rngs.params(), (num_memories, width), jnp.float32))
        self.log_beta = nnx.Param(jnp.full((num_heads,), jnp.log(beta), jnp.float32))
        self.log_scale = nnx.Param(jnp.zeros((), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((width,), jnp.float32))

    def __call__(
        self,
        inputs: Float[Array, "*batch n width"],
        *,
        mask: Bool[Array, "*batch n"] | None = None,
    ) -> Float[Array, "*batch n width"]:
        """Takes ``num_steps`` steps from ``inputs``.

        Args:
          inputs: (..., n, D).
          mask: (..., n), True for real tokens; the others do not move and move no other.

        Returns:
          (..., n, D) in the dtype of ``inputs``; computed in float32 at least.
        """
        return self._descend(inputs, mask)[0].astype(inputs.dtype)

    def energies(
        self,
        inputs: Float[Array, "*batch n width"],
        *,
        mask: Bool[Array, "*batch n"] | None = None,
    ) -> Float[Array, "*batch steps"]:
        """The energy of each example at steps 0, …, T of the call.

        Args:
          inputs: as in the call.
          mask: as in the call.

        Returns:
          E, (..., T+1), float32 at least.
        """
        return self._descend(inputs, mask)[1]

    def normalize(self, x: Float[Array, "n width"]) -> Float[Array, "n width"]:
        """The layer norm of the tokens of one example, as the gradient of its Lagrangian."""
        scale = jnp.exp(self.log_scale[...])
        return jax.grad(layer_norm_lagrangian)(x, scale, self.bias[...], self.epsilon)

    def energy(
        self, g: Float[Array, "n width"], *, mask: Bool[Array, " n"] | None = None
    ) -> Scalar:
        """E(g) of the normalised tokens of one example."""
        return energy_transformer_energy(
            g,
            self.query[...],
            self.key[...],
            self.memories[...],
            beta=jnp.exp(self.log_beta[...]),
            mask=mask,
            include_self=self.include_self,
        )

    def _descend(self, inputs: Array, mask: Array | None) -> tuple[Array, Array]:
        """The tokens after T steps and the energies at steps 0, …, T."""
        if inputs.ndim > 2:
            return jax.vmap(self._descend, in_axes=(0, None if mask is None else 0))(inputs, mask)

        def value_and_grad(x: Array) -> tuple[Array, Array]:
            return jax.value_and_grad(lambda g: self.energy(g, mask=mask))(self.normalize(x))

        def step(x: Array, _: None) -> tuple[Array, Array]:
            energy, grad = value_and_grad(x)
            return x - self.step_size * grad, energy

        x = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
        x, energies = jax.lax.scan(step, x, length=self.num_steps)
        return x, jnp.append(energies, value_and_grad(x)[0])
