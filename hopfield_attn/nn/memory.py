"""Associative memories as flax.nnx modules: retrieval, pooling and lookup."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from hopfield_attn.checks import check_at_least, check_count
from hopfield_attn.energies.memory import check_memory_energy
from hopfield_attn.ops.retrieve import Retrieval, retrieval_descent
from hopfield_attn.typing import Array, Bool, DTypeLike, Float

UNIT_NORM_BETA = 32.0
"""Initial β on the unit sphere, where similarities lie in [−1, 1]: a gap of 0.4 is a weight ratio
of e^{−13}."""

AS_ATTENTION = {"project": True, "normalize": False, "num_steps": 1}
"""The options that make a retrieval Vaswani attention."""


class HopfieldRetrieval(nnx.Module):
    """Queries retrieve from stored patterns that are given in the call.

    Each head takes its part of the width, and :func:`hopfield_attn.ops.retrieve.retrieve` descends
    its energy for ``num_steps`` − 1 updates; the last step reads out.

    Out of the box it is an associative memory without projections: queries and patterns are
    compared on the unit sphere, and the patterns are read out as they were stored, norms included.
    With ``project=True`` and ``normalize=False`` it is a multi-head attention layer
    whose queries are iterated: num_steps = 1 is Vaswani attention.

    Attributes:
      log_beta: log β, one a head, shape (num_heads,), float32; learned.
      query, key, value, out: projections (``nnx.Linear``), width → width, or ``None``.
    """

    def __init__(
        self,
        width: int,
        *,
        num_heads: int = 1,
        project: bool = False,
        normalize: bool = True,
        energy: str = "modern_hopfield",
        parameters: Mapping[str, float] | None = None,
        beta: float | None = None,
        num_steps: int = 3,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Creates the parameters.

        Args:
          width: width of queries, stored patterns and outputs; divisible by ``num_heads``.
          num_heads: h; each head has width d = width / h and its own β.
          project: learn projections of queries, keys, values and output.
          normalize: compare queries and keys on the unit sphere.
          energy: a key of ``MEMORY_ENERGIES``.
          parameters: of the energy, such as ``{"alpha": 2.0}``.
          beta: β > 0 at the start; ``None`` is 32 on the unit sphere, else 1/√d.
          num_steps: T ≥ 1, the read-out included.
          dtype: computation dtype of the projections; parameters are float32.
          rngs: source of the initial parameters (stream ``params``).

        Raises:
          TypeError: for counts that are not ints.
          ValueError: if the width is not divisible, a name is unknown or a number out of range.

        Example:
          >>> import jax
          >>> stored = jax.random.normal(jax.random.key(0), (32, 64))
          >>> noisy = stored + 0.3 * jax.random.normal(jax.random.key(1), (32, 64))
          >>> retrieved = HopfieldRetrieval(64, rngs=nnx.Rngs(0))(noisy, stored)
          >>> bool(jnp.max(jnp.abs(retrieved - stored)) < 1e-2)
          True

        Reference:
          H. Ramsauer et al., *Hopfield Networks is All You Need*, ICLR 2021.
        """
        check_count(1, width=width, num_heads=num_heads, num_steps=num_steps)
        if width % num_heads:
            raise ValueError(f"width must be divisible by num_heads; got {width} and {num_heads}")
        if beta is None:
            beta = UNIT_NORM_BETA if normalize else (width // num_heads) ** -0.5
        check_at_least(0, exclusive=True, beta=beta)
        self.num_heads = num_heads
        self.normalize = normalize
        self.energy = energy
        # A tuple: nnx takes a dict for a node of the module's graph.
        self.parameters = tuple(check_memory_energy(energy, parameters or {}).items())
        self.num_steps = num_steps
        self.log_beta = nnx.Param(jnp.full((num_heads,), jnp.log(beta), jnp.float32))
        self.query = _projection(width, project, dtype, rngs)
        self.key = _projection(width, project, dtype, rngs)
        self.value = _projection(width, project, dtype, rngs)
        self.out = _projection(width, project, dtype, rngs)

    def __call__(
        self,
        queries: Float[Array, "*#batch n width"],
        stored: Float[Array, "*#batch m width"],
        *,
        mask: Bool[Array, "*#batch m"] | None = None,
    ) -> Float[Array, "*batch n width"]:
        """Retrieves one pattern for each query.

        Args:
          queries: (..., n, width); leading axes broadcast.
          stored: (..., m, width).
          mask: (..., m), True for the stored patterns that take part. Where none does, the
            retrieved pattern is zero.

        Returns:
          (..., n, width), in the dtype of the queries.
        """
        x = self.descent(queries, stored, mask=mask).x
        return _apply(self.out, rearrange(x, "... h n d -> ... n (h d)")).astype(queries.dtype)

    def descent(
        self,
        queries: Float[Array, "*#batch n width"],
        stored: Float[Array, "*#batch m width"],
        *,
        mask: Bool[Array, "*#batch m"] | None = None,
    ) -> Retrieval:
        """The retrieval of each head: read-out, energies, weights and status.

        Args:
          queries: as in the call.
          stored: as in the call.
          mask: as in the call.

        Returns:
          A :class:`hopfield_attn.ops.retrieve.Retrieval` with leading axes (..., h), before the
          output projection.
        """
        parameters: dict[str, Any] = dict(self.parameters)
        query, key, value = (
            rearrange(_apply(layer, a), "... n (h d) -> ... h n d", h=self.num_heads)
            for layer, a in ((self.query, queries), (self.key, stored), (self.value, stored))
        )
        return retrieval_descent(
            query,
            key,
            values=value,
            energy=self.energy,
            beta=jnp.exp(self.log_beta[...]),
            num_steps=self.num_steps,
            mask=None if mask is None else mask[..., None, :],
            normalize=self.normalize,
            **parameters,
        )


class HopfieldPooling(nnx.Module):
    """Learned queries retrieve from a sequence: a summary of fixed size.

    Attributes:
      queries: the learned queries, shape (num_queries, width), float32.
      retrieval: the :class:`HopfieldRetrieval` that they go through.
    """

    def __init__(
        self,
        width: int,
        *,
        num_queries: int = 1,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        """Creates the parameters.

        Args:
          width: width of the sequence and of the outputs.
          num_queries: how many vectors a sequence is pooled to.
          rngs: source of the initial parameters (stream ``params``).
          **options: of :class:`HopfieldRetrieval`. Unless stated it is attention pooling:
            ``project=True, normalize=False, num_steps=1``.
        """
        check_count(1, num_queries=num_queries)
        self.queries = _learned_patterns(num_queries, width, rngs)
        self.retrieval = HopfieldRetrieval(width, rngs=rngs, **(AS_ATTENTION | options))

    def __call__(
        self,
        inputs: Float[Array, "*batch n width"],
        *,
        mask: Bool[Array, "*batch n"] | None = None,
    ) -> Float[Array, "*batch num_queries width"]:
        """Pools each sequence.

        Args:
          inputs: (..., n, width).
          mask: (..., n), True for the real tokens.

        Returns:
          (..., num_queries, width), in the dtype of ``inputs``.
        """
        return self.retrieval(self.queries[...].astype(inputs.dtype), inputs, mask=mask)


class HopfieldLookup(nnx.Module):
    """Tokens retrieve from learned memories: a table that is addressed by content.

    Attributes:
      memories: the learned memories, shape (num_memories, width), float32.
      retrieval: the :class:`HopfieldRetrieval` that the tokens go through.
    """

    def __init__(
        self,
        width: int,
        *,
        num_memories: int,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        """Creates the parameters.

        Args:
          width: width of the tokens, memories and outputs.
          num_memories: m, how many patterns are learned.
          rngs: source of the initial parameters (stream ``params``).
          **options: of :class:`HopfieldRetrieval`. Unless stated it is one step of attention:
            ``project=True, normalize=False, num_steps=1``.
        """
        check_count(1, num_memories=num_memories)
        self.memories = _learned_patterns(num_memories, width, rngs)
        self.retrieval = HopfieldRetrieval(width, rngs=rngs, **(AS_ATTENTION | options))

    def __call__(self, inputs: Float[Array, "*batch n width"]) -> Float[Array, "*batch n width"]:
        """Looks each token up.

        Args:
          inputs: (..., n, width).

        Returns:
          (..., n, width), in the dtype of ``inputs``.
        """
        return self.retrieval(inputs, self.memories[...])


def _projection(
    width: int, project: bool, dtype: DTypeLike | None, rngs: nnx.Rngs
) -> nnx.Linear | None:
    return nnx.Linear(width, width, dtype=dtype, rngs=rngs) if project else None


def _apply(layer: nnx.Linear | None, x: Array) -> Array:
    return x if layer is None else layer(x)


def _learned_patterns(count: int, width: int, rngs: nnx.Rngs) -> nnx.Param:
    """Standard normal patterns, shape (count, width): the scale of normalised tokens."""
    return nnx.Param(nnx.initializers.normal(1.0)(rngs.params(), (count, width), jnp.float32))
