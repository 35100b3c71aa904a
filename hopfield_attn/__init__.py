"""Non-linear attention as the minimum of an energy (Farooq, arXiv:2506.11043), in JAX and Flax.

E(x, y) = −Φ_F(x, y) + ½‖x‖² + (λ/2)‖x − A y‖² is written once (:func:`attention_energy`),
``jax.grad`` derives the update, ``jax.lax.scan`` unrolls it (:func:`descend`), and
:func:`nonlinear_attention` is the result in the shape of ``jax.nn.dot_product_attention``.
"""

from hopfield_attn.energies import nonlinearities
from hopfield_attn.energies.attention import attention_energy
from hopfield_attn.energies.memory import memory_energy
from hopfield_attn.energies.regimes import Regime, regime
from hopfield_attn.ops.attention_equilibrium import AttentionEquilibrium, attention_equilibrium
from hopfield_attn.ops.autodiff import AttentionDescent
from hopfield_attn.ops.nonlinear_attention import attention_descent, nonlinear_attention
from hopfield_attn.ops.retrieve import Retrieval, retrieval_descent, retrieve
from hopfield_attn.solvers.alternating import Alternation, alternate
from hopfield_attn.solvers.descent import Descent, descend
from hopfield_attn.solvers.equilibrium import Equilibrium, equilibrium
from hopfield_attn.solvers.gradient_modes import truncated

__version__ = "0.1.0"

__all__ = [
    "Alternation",
    "AttentionDescent",
    "AttentionEquilibrium",
    "Descent",
    "Equilibrium",
    "Regime",
    "Retrieval",
    "alternate",
    "attention_descent",
    "attention_equilibrium",
    "attention_energy",
    "descend",
    "equilibrium",
    "memory_energy",
    "nonlinear_attention",
    "nonlinearities",
    "regime",
    "retrieval_descent",
    "retrieve",
    "truncated",
]
