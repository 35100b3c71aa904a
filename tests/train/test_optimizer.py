import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hopfield_attn.train.optimizer import (
    DECAYS,
    is_nonlinearity,
    learning_rates,
    make_optimizer,
    make_schedule,
)

CONFIG = {
    "learning_rate": 2e-3,
    "warmup_fraction": 0.2,
    "decay": "linear",
    "weight_decay": 0.1,
    "clip_norm": 1.0,
    "b1": 0.9,
    "b2": 0.99,
    "alpha_rate": 1.0,
}
PARAMS = {
    "layers": {
        0: {
            "attention": {
                "alpha": jnp.array([0.5, -0.25]),
                "spline_values": jnp.full((2, 3), 0.5),
                "query": {"kernel": jnp.eye(2) * 2},
            },
            "norm": {"scale": jnp.array([1.0, 3.0]), "bias": jnp.array([-1.0, 2.0])},
        }
    },
    "embedding": jnp.full((3, 2), 0.5),
}


OF_F = ("['alpha']", "['spline_values']")


def is_decayed(path, param):
    return param.ndim >= 2 and not path.endswith(OF_F)


def leaves(tree):
    return {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def updates_of(changes, grads, *, num_updates=1, num_steps=10):
    """The updates of each of several steps with the same gradients and parameters."""
    optimizer = make_optimizer(CONFIG | changes, num_steps=num_steps)
    state, found = optimizer.init(PARAMS), []
    for _ in range(num_updates):
        updates, state = optimizer.update(grads, state, PARAMS)
        found.append(leaves(updates))
    return found


def ramp(size=1.0):
    """Gradients that differ from entry to entry, of norm ``size``."""
    grads = jax.tree.map(lambda p: jnp.arange(1.0, p.size + 1).reshape(p.shape), PARAMS)
    return jax.tree.map(lambda g: g * size / optax.tree.norm(grads), grads)


@pytest.mark.core
@pytest.mark.parametrize("decay", DECAYS)
def test_learning_rate_warms_up_from_zero_and_decays_from_the_peak_to_the_end(decay):
    schedule = make_schedule(CONFIG | {"decay": decay}, num_steps=100)
    at = {step: float(schedule(step)) for step in (0, 10, 20, 60, 100)}
    half = {"linear": 1e-3, "cosine": 1e-3, "constant": 2e-3}[decay]
    end = {"linear": 0.0, "cosine": 0.0, "constant": 2e-3}[decay]
    assert at == pytest.approx({0: 0.0, 10: 1e-3, 20: 2e-3, 60: half, 100: end}, abs=1e-9)


@pytest.mark.core
def test_cosine_decay_is_half_a_cosine():
    schedule = make_schedule(CONFIG | {"decay": "cosine"}, num_steps=100)
    steps = np.arange(20, 101)
    expected = 2e-3 * 0.5 * (1 + np.cos(np.pi * (steps - 20) / 80))
    np.testing.assert_allclose([float(schedule(s)) for s in steps], expected, atol=1e-9)


@pytest.mark.core
@pytest.mark.parametrize("decay", DECAYS)
def test_without_warm_up_the_first_step_has_the_peak_rate(decay):
    schedule = make_schedule(CONFIG | {"decay": decay, "warmup_fraction": 0.0}, num_steps=100)
    assert float(schedule(0)) == pytest.approx(2e-3)


@pytest.mark.core
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_shortest_runs_have_finite_rates(decay, num_steps):
    schedule = make_schedule(CONFIG | {"decay": decay}, num_steps=num_steps)
    rates = np.array([float(schedule(step)) for step in range(num_steps + 1)])
    assert np.all((rates >= 0) & (rates <= 2e-3 + 1e-9))


def test_weight_decay_touches_matrices_and_embeddings_only():
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    constant = {"decay": "constant", "warmup_fraction": 0.0}
    (updates,) = updates_of(constant, zeros)
    for path, param in leaves(PARAMS).items():
        # With zero gradients, decay is all there is: -rate * weight_decay * parameter.
        expected = -2e-3 * 0.1 * param if is_decayed(path, param) else np.zeros_like(param)
        np.testing.assert_allclose(updates[path], expected, rtol=1e-6, err_msg=path)
    assert sum(is_decayed(path, param) for path, param in leaves(PARAMS).items()) == 2


def test_alpha_steps_with_its_own_rate_and_the_rest_as_before():
    plain = updates_of({}, ramp(), num_updates=4)
    scaled = updates_of({"alpha_rate": 5.0}, ramp(), num_updates=4)
    frozen = updates_of({"alpha_rate": 0.0}, ramp(), num_updates=4)
    for step in range(4):
        for path, update in plain[step].items():
            is_strength = path.endswith(OF_F)
            assert not step or np.all(update != 0)
            np.testing.assert_array_equal(scaled[step][path], update * (5 if is_strength else 1))
            np.testing.assert_array_equal(frozen[step][path], update * (0 if is_strength else 1))


@pytest.mark.core
def test_only_strengths_and_splines_are_nonlinearities():
    found = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(is_nonlinearity(PARAMS))
    }
    prefix = "['layers'][0]['attention']"
    assert [path for path, leaf in found.items() if leaf] == [
        f"{prefix}['alpha']",
        f"{prefix}['spline_values']",
    ]
    assert len(found) == len(leaves(PARAMS))


def test_gradients_are_clipped_by_their_global_norm():
    # Step 0 sees gradients of norm 1; later, longer gradients act as if scaled down to norm 1.
    for size in (1.0, 7.0, 1e4):
        clipped = updates_of({}, ramp(size), num_updates=3)
        for path, update in updates_of({}, ramp(1.0), num_updates=3)[2].items():
            np.testing.assert_allclose(clipped[2][path], update, rtol=1e-4, err_msg=path)
    # AdamW alone forgets the scale; mixed scales show that short gradients are left alone.
    optimizer = make_optimizer(CONFIG, num_steps=10)
    state = optimizer.init(PARAMS)
    _, state = optimizer.update(ramp(0.5), state, PARAMS)
    _, after_short = optimizer.update(ramp(0.5), state, PARAMS)
    _, after_long = optimizer.update(ramp(50.0), state, PARAMS)
    norms = [
        float(optax.tree.norm(optax.tree.get(state, "mu"))) for state in (after_short, after_long)
    ]
    assert norms == pytest.approx([0.9 * 0.05 + 0.05, 0.9 * 0.05 + 0.1], rel=1e-5)


def test_updates_are_those_of_adamw():
    """By hand: m, v with bias correction, decoupled decay, then the learning rate."""
    found = updates_of({"alpha_rate": 3.0}, ramp(), num_updates=3)
    schedule = make_schedule(CONFIG, num_steps=10)
    for path, grad in leaves(ramp()).items():
        param, m, v = leaves(PARAMS)[path], 0.0, 0.0
        for step in range(3):
            m, v = 0.9 * m + 0.1 * grad, 0.99 * v + 0.01 * grad**2
            adam = (m / (1 - 0.9 ** (step + 1))) / (np.sqrt(v / (1 - 0.99 ** (step + 1))) + 1e-8)
            decay = 0.1 * param if is_decayed(path, param) else 0.0
            rate = float(schedule(step)) * (3.0 if path.endswith(OF_F) else 1.0)
            np.testing.assert_allclose(
                found[step][path], -rate * (adam + decay), rtol=2e-5, atol=1e-10, err_msg=path
            )


@pytest.mark.core
@pytest.mark.parametrize("decay", DECAYS)
def test_learning_rates_on_the_host_are_those_of_the_schedule(decay):
    config = CONFIG | {"decay": decay}
    rates = learning_rates(config, num_steps=10)
    assert isinstance(rates, np.ndarray)
    schedule = make_schedule(config, num_steps=10)
    np.testing.assert_array_equal(rates, [np.float32(schedule(step)) for step in range(10)])


@pytest.mark.core
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decay": "cosin"}, r"optimizer.decay must be one of .*'cosin'; did you mean 'cosine'"),
        ({"warmup_fraction": 1.0}, r"warmup_fraction must be in \[0, 1\); got 1.0"),
        ({"warmup_fraction": -0.1}, "warmup_fraction"),
        ({"learning_rate": -1e-3}, "learning_rate must be >= 0; got -0.001"),
        ({"learning_rate": float("nan")}, "learning_rate must be >= 0; got nan"),
        ({"weight_decay": -0.1}, "weight_decay must be >= 0"),
        ({"alpha_rate": -1.0}, "alpha_rate must be >= 0"),
        ({"clip_norm": 0.0}, "clip_norm must be > 0; got 0.0"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(CONFIG | change, num_steps=10)
