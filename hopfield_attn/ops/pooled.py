"""Descent on the pooled energy in m numbers a head (M6), whatever computes the products with A.

x_t = A diag(c_t) y all the way from x₀ = A y, so c is the state:

    u_t = G c_t,    c_{t+1} = c_t − η [(1+λ) c_t − F'(s u_t) − λ],    c₀ = 1.

Reverse, with c̄_T = pool(x̄_T) and pool(x)_j = Σ_i A_ij ⟨x_i, y_j⟩ (G is symmetric):

    c̄_t, ū_t from the step alone,    c̄_t += G ū_t,

and everything that A and y get is one bilinear form in x̄_T, A diag(ū_t) y and A diag(c_t) y. Only
the vectors c_t and u_t are stored: m numbers a step, not a state of n·d_v. The reverse pass makes
the states again, all at once: T of them while it runs, unless it goes by blocks.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hopfield_attn.ops.problem import Steps
from hopfield_attn.typing import Array, PyTree, State, Values


class Products(NamedTuple):
    """How a descent multiplies with the attention weights A of a source.

    ``held`` is what is computed once from the source: the row log-sum-exp where A is never stored,
    Aᵀ in the reverse pass where it is. ``made`` is what a product computed on its way and
    ``pull_back`` needs again: (A diag(c) y, Aᵀ A diag(c) y), or ``None`` where memory for T states
    is not to be had.

    Attributes:
      hold: source → held.
      attend: (source, held, w (m, d)) → A w.
      pool: (source, held, y, x) → u (m,), u_j = Σ_i A_ij ⟨x_i, y_j⟩.
      gram: (source, held, y, c) → G c = pool(A diag(c) y).
      hold_reverse: (source, what was stored of held) → held, for the rest.
      reverse_pool: as ``pool`` → (u, Aᵀ x or ``None``).
      reverse_gram: as ``gram`` → (G c, made).
      pull_back: (source, held, y, last, pairs) → the cotangents of the source and of y under
        ⟨x̄, A diag(r) y⟩ + Σ_t ⟨a_t, G b_t⟩, with ``last`` = (x̄, r, Aᵀ x̄ or ``None``) and
        ``pairs`` = (a, b, made of a), with a leading axis T; ``None``: no pairs.
      hold_and_attend: (source, w) → (held, A w) in one sweep; ``None``: ``hold``, then ``attend``.
      hold_and_gram: (source, y) → (held, G 1) in one sweep; ``None``: ``hold``, then ``gram``.
      store: held → what of it is stored for the reverse pass; ``attend`` takes it as well.
    """

    hold: Callable[..., Any]
    attend: Callable[..., Array]
    pool: Callable[..., Array]
    gram: Callable[..., Array]
    hold_reverse: Callable[..., Any]
    reverse_pool: Callable[..., tuple[Array, Any]]
    reverse_gram: Callable[..., tuple[Array, Any]]
    pull_back: Callable[..., tuple[Any, Array]]
    hold_and_attend: Callable[..., tuple[Any, Array]] | None = None
    hold_and_gram: Callable[..., tuple[Any, Array]] | None = None
    store: Callable[[Any], Any] = lambda held: held


def slope_of(steps: Steps, like: Array) -> tuple[Callable[..., Array], Any]:
    """F' as a function of (u, constants), and the constants.

    They are the parameters of F and whatever else with a derivative a user's F closes over.
    """

    def slope(u: Array, nonlinearity: Any) -> Array:
        return nonlinearity.derivative(u)

    converted, hoisted = jax.closure_convert(slope, like, steps.nonlinearity)
    return lambda u, constants: converted(u, *constants), (steps.nonlinearity, *hoisted)


def pooled_descent(
    products: Products, source: PyTree, value: Values, steps: Steps, *, num_steps: int
) -> State:
    """x_T of T gradient steps on the pooled energy, with a reverse pass by hand.

    Args:
      products: the products with A.
      source: what A is made of, a pytree of arrays.
      value: y, (m, d_v).
      steps: F, λ, η and s.
      num_steps: T ≥ 0.
    """
    slope, constants = slope_of(steps, value[:, 0])
    numbers = steps.lam, steps.step_size, steps.gain
    return _descend(products, slope, num_steps, source, value, (constants, numbers))


def pooled_gradient(products: Products, source: PyTree, value: Values, steps: Steps) -> Any:
    """The map x → ∇E(x) = (1+λ) x − A diag(F'(s u) + λ) y (M4a), differentiable by reverse mode."""

    def gradient(x: Array) -> Array:
        u = _pool(products, source, value, x)
        c = steps.nonlinearity.derivative(steps.gain * u) + steps.lam
        return (1 + steps.lam) * x - _attend(products, source, c[:, None] * value)

    return gradient


def attention(products: Products, source: PyTree, value: Values) -> State:
    """A y, differentiable by reverse mode."""
    return _attend(products, source, value)


def _c_step(slope: Callable[..., Array], c: Array, u: Array, theta: Any) -> Array:
    constants, (lam, step_size, gain) = theta
    return c - step_size * ((1 + lam) * c - slope(gain * u, constants) - lam)


def _run(
    products: Products,
    slope: Callable[..., Array],
    num_steps: int,
    source: PyTree,
    value: Array,
    theta: Any,
) -> tuple[Array, Any]:
    """x_T; and held, c_T and the stacked c_t, u_t."""
    c = jnp.ones_like(value[:, 0])
    is_peeled = False
    if products.hold_and_gram is not None and num_steps > 0:
        is_peeled = True
        held, u = products.hold_and_gram(source, value)
        first = c[None], u[None]
        c = _c_step(slope, c, u, theta)
    else:
        held = products.hold(source)

    def step(c: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        u = products.gram(source, held, value, c)
        return _c_step(slope, c, u, theta), (c, u)

    c, path = jax.lax.scan(step, c, length=num_steps - is_peeled)
    if is_peeled:
        path = jax.tree.map(lambda *parts: jnp.concatenate(parts), first, path)
    return products.attend(source, held, c[:, None] * value), (held, c, path)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _descend(
    products: Products,
    slope: Callable[..., Array],
    num_steps: int,
    source: PyTree,
    value: Array,
    theta: Any,
) -> Array:
    return _run(products, slope, num_steps, source, value, theta)[0]


def _descend_forward(
    products: Products,
    slope: Callable[..., Array],
    num_steps: int,
    source: PyTree,
    value: Array,
    theta: Any,
) -> tuple[Array, Any]:
    x, (held, *path) = _run(products, slope, num_steps, source, value, theta)
    return x, (source, value, theta, products.store(held), *path)


def _descend_backward(
    products: Products, slope: Callable[..., Array], num_steps: int, kept: Any, x_bar: Array
) -> tuple[Any, Array, Any]:
    source, value, theta, held, last, path = kept
    held = products.hold_reverse(source, held)
    c_bar, made_last = products.reverse_pool(source, held, value, x_bar)

    def reverse(c_bar: Array, at: tuple[Array, Array]) -> tuple[Array, Any]:
        _, pull = jax.vjp(functools.partial(_c_step, slope), *at, theta)
        c_bar, u_bar, theta_bar = pull(c_bar)
        product, made = products.reverse_gram(source, held, value, u_bar)
        return c_bar + product, (u_bar, made, theta_bar)

    pairs = None
    if num_steps:
        _, (u_bars, made, theta_bars) = jax.lax.scan(reverse, c_bar, path, reverse=True)
        pairs = u_bars, path[0], made
        theta_bar = jax.tree.map(lambda a: jnp.sum(a, axis=0), theta_bars)
    else:
        theta_bar = jax.tree.map(jnp.zeros_like, theta)
    last = x_bar, last, made_last
    source_bar, value_bar = products.pull_back(source, held, value, last, pairs)
    return source_bar, value_bar, theta_bar


_descend.defvjp(_descend_forward, _descend_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(products: Products, source: PyTree, value: Array) -> Array:
    return _attend_forward(products, source, value)[0]


def _attend_forward(products: Products, source: PyTree, value: Array) -> tuple[Array, Any]:
    if products.hold_and_attend is not None:
        held, x = products.hold_and_attend(source, value)
    else:
        held = products.hold(source)
        x = products.attend(source, held, value)
    return x, (source, products.store(held), value)


def _attend_backward(products: Products, kept: Any, x_bar: Array) -> tuple[Any, Array]:
    source, held, value = kept
    held = products.hold_reverse(source, held)
    last = x_bar, jnp.ones_like(value[:, 0]), None
    return products.pull_back(source, held, value, last, None)


_attend.defvjp(_attend_forward, _attend_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pool(products: Products, source: PyTree, value: Array, x: Array) -> Array:
    return products.pool(source, products.hold(source), value, x)


def _pool_forward(products: Products, source: PyTree, value: Array, x: Array) -> tuple[Array, Any]:
    held = products.hold(source)
    return products.pool(source, held, value, x), (source, products.store(held), value, x)


def _pool_backward(products: Products, kept: Any, u_bar: Array) -> tuple[Any, Array, Array]:
    source, held, value, x = kept
    x_bar = products.attend(source, held, u_bar[:, None] * value)
    held = products.hold_reverse(source, held)
    return *products.pull_back(source, held, value, (x, u_bar, None), None), x_bar


_pool.defvjp(_pool_forward, _pool_backward)
