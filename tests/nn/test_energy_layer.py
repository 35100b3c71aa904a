import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from hopfield_attn import descend, truncated
from hopfield_attn.nn import EnergyLayer

pytestmark = pytest.mark.core


def energy(x, target, *, weights, bias):
    return 0.5 * jnp.sum((x - weights @ target - bias) ** 2) + 0.1 * jnp.sum(x**4)


PARAMETERS = {"weights": jnp.array([[1.0, 0.5], [-0.3, 2.0]]), "bias": jnp.array([0.1, -0.2])}


def layer(**options):
    return EnergyLayer(energy, PARAMETERS, **({"num_steps": 5, "step_size": 0.2} | options))


def batch():
    return jax.random.normal(jax.random.key(0), (2, 3, 2))


def test_output_is_the_descent_of_every_example():
    x, target = batch()
    out = layer()(x, target)
    for i in range(3):
        alone = descend(
            lambda state, i=i: energy(state, target[i], **PARAMETERS),
            x[i],
            num_steps=5,
            rule=optax.sgd(0.2),
        )
        np.testing.assert_allclose(out[i], alone.x, rtol=1e-6)
    assert layer().descent(x, target).energies.shape == (3, 6)


@pytest.mark.parametrize("mode", ["unrolled", "implicit", truncated(30)], ids=str)
def test_parameters_learn_through_the_descent(mode):
    x, target = batch()
    graphdef, params = nnx.split(layer(gradient_mode=mode, num_steps=40))
    pure = nnx.to_pure_dict(params)
    assert set(pure["parameters"]) == {"weights", "bias"}
    loss = jax.jit(lambda p: jnp.sum(nnx.merge(graphdef, p)(x, target) ** 2))
    grads = jax.grad(loss)(pure)["parameters"]
    step = 1e-2
    shifted = [
        loss({"parameters": pure["parameters"] | {"bias": pure["parameters"]["bias"].at[0].add(d)}})
        for d in (step, -step)
    ]
    np.testing.assert_allclose(grads["bias"][0], (shifted[0] - shifted[1]) / (2 * step), rtol=2e-3)
    assert np.all(np.asarray(grads["weights"]) != 0)


@pytest.mark.usefixtures("no_typechecker")
def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="step_size must be > 0; got 0"):
        layer(step_size=0)
    with pytest.raises(ValueError, match="num_steps must be >= 0; got -1"):
        layer(num_steps=-1)
    with pytest.raises(ValueError, match="did you mean 'implicit'"):
        layer(gradient_mode="implict")
