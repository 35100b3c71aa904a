"""Write your own energy, get a layer: from one scalar function to a trained nnx module.

  python examples/write_your_own_energy.py

The task: rows of noisy points on a circle have to be put back onto it. The energy has a well all
along a circle whose centre and radius are not known; they are learned by gradient descent through
the descent.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from hopfield_attn.nn import EnergyLayer
from hopfield_attn.solvers.spectrum import hessian_spectrum


# 1. The energy of ONE example: the state first, then what is learned, by name.
def ring_energy(x, *, centre, radius):
    """A valley along a circle: E(x) = ½ (‖x − c‖ − r)²."""
    return 0.5 * (jnp.linalg.norm(x - centre) - radius) ** 2


def make_data(key, number=256):
    """Points on the circle around (1, −½) with radius 2, and the same with noise."""
    angle_key, noise_key = jax.random.split(key)
    angles = jax.random.uniform(angle_key, (number,), maxval=2 * jnp.pi)
    clean = jnp.array([1.0, -0.5]) + 2.0 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    return clean + 0.3 * jax.random.normal(noise_key, clean.shape), clean


def main():
    # 2. The layer: T steps of descent from the input, batched, differentiable, jittable.
    layer = EnergyLayer(
        ring_energy,
        {"centre": jnp.zeros(2), "radius": jnp.array(1.0)},
        num_steps=4,
        step_size=0.7,
    )
    noisy, clean = make_data(jax.random.key(0))

    # 3. Training: plain JAX on the layer's parameters.
    graphdef, params = nnx.split(layer)
    params = nnx.to_pure_dict(params)
    optimizer = optax.adam(0.05)

    def loss_fn(params):
        return jnp.mean(jnp.sum((nnx.merge(graphdef, params)(noisy) - clean) ** 2, axis=1))

    @jax.jit
    def step(params, opt_state):
        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state, loss

    opt_state = optimizer.init(params)
    for number in range(200):
        params, opt_state, loss = step(params, opt_state)
        if number % 50 == 0:
            print(f"step {number:3d}  mean squared distance to the clean points {loss:.4f}")
    trained = nnx.merge(graphdef, params)
    centre, radius = (trained.parameters[name][...] for name in ("centre", "radius"))
    print(f"learned: centre ({centre[0]:.2f}, {centre[1]:.2f}), radius {radius:.2f}")

    # 4. Everything that works on an energy works on this one.
    descent = trained.descent(noisy)
    print("mean energy at each step of the layer:", descent.energies.mean(0).round(4))
    curvatures = hessian_spectrum(
        lambda x: ring_energy(x, centre=centre, radius=radius), descent.x[0]
    )
    print(
        "curvatures at one end point:", curvatures.round(2), "- flat along the ring, steep across"
    )
    return trained, float(loss)


if __name__ == "__main__":
    main()
