"""The training step is a pure function of state and batch; so is the evaluation step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from hopfield_attn.train.losses import weighted_cross_entropy
from hopfield_attn.train.optimizer import make_optimizer
from hopfield_attn.train.state import TrainState, init_state, split_model
from hopfield_attn.train.step import make_predict_step, make_train_step


class Small(nnx.Module):
    """Two layers with dropout between them, a strength, and a variable that is not trained."""

    def __init__(self, rate: float):
        rngs = nnx.Rngs(params=0)
        self.first = nnx.Linear(3, 8, rngs=rngs)
        self.second = nnx.Linear(8, 4, rngs=rngs)
        self.alpha = nnx.Param(jnp.array([0.5]))
        self.offset = nnx.Variable(jnp.array([2.0]))
        self.dropout = nnx.Dropout(rate)

    def __call__(self, x, rngs=None):
        hidden = jnp.tanh(self.first(x)) + self.offset[None]
        if rngs is not None:
            hidden = self.dropout(hidden, deterministic=False, rngs=rngs)
        return self.second(hidden) * (1 + self.alpha[None])


def loss_fn(model, batch, rngs):
    logits = model(batch["x"], rngs)
    return weighted_cross_entropy(logits, batch["labels"], jnp.ones(batch["labels"].shape))


CONFIG = {
    "learning_rate": 1e-2,
    "warmup_fraction": 0.0,
    "decay": "constant",
    "weight_decay": 0.1,
    "clip_norm": 0.05,  # shorter than the gradients
    "b1": 0.9,
    "b2": 0.999,
    "alpha_rate": 3.0,
}
BATCH = {
    "x": np.linspace(-1, 1, 18, dtype=np.float32).reshape(6, 3),
    "labels": np.array([0, 1, 2, 3, 0, 1], np.int32),
}
MODEL = Small(0.5)
OPTIMIZER = make_optimizer(CONFIG, num_steps=10)


@pytest.fixture(scope="module")
def definition_and_params():
    return split_model(MODEL)


@pytest.fixture(scope="module")
def train_step(definition_and_params):
    return make_train_step(definition_and_params[0], loss_fn, OPTIMIZER)


def fresh(params, *, step=0):
    state = init_state(params, OPTIMIZER)
    return TrainState(state.step + step, state.params, state.opt_state)


def as_bytes(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def loss_of(train_step, params, step, *, seed=0):
    return float(train_step(fresh(params, step=step), BATCH, np.uint32(seed))[1]["loss"])


def test_same_state_and_batch_give_the_same_bits(train_step, definition_and_params):
    _, params = definition_and_params
    first, again = (train_step(fresh(params), BATCH) for _ in range(2))
    assert as_bytes(first) == as_bytes(again)
    assert as_bytes(first[0].params) != as_bytes(params)


def test_step_counts_updates(train_step, definition_and_params):
    state, _ = train_step(fresh(definition_and_params[1], step=4), BATCH)
    assert int(state.step) == 5
    assert state.step.dtype == jnp.int32


def test_dropout_differs_from_step_to_step_and_from_seed_to_seed(train_step, definition_and_params):
    _, params = definition_and_params
    losses = [loss_of(train_step, params, step) for step in range(4)]
    assert len(set(losses)) == 4
    assert loss_of(train_step, params, 0, seed=1) not in losses
    # The step of the state decides, not the number of calls.
    assert loss_of(train_step, params, 2) == losses[2]


def test_dropout_of_a_step_is_what_its_key_draws(train_step, definition_and_params):
    definition, params = definition_and_params
    for step, seed in ((0, 0), (7, 0), (2, 3)):
        rngs = nnx.Rngs(dropout=jax.random.fold_in(jax.random.key(seed), step))
        expected = loss_fn(definition.bind(params), jax.tree.map(jnp.asarray, BATCH), rngs)
        assert loss_of(train_step, params, step, seed=seed) == pytest.approx(
            float(expected), rel=1e-6
        )


def test_state_is_donated_and_the_model_keeps_its_parameters(train_step, definition_and_params):
    _, params = definition_and_params
    before = as_bytes(params)
    state = fresh(params)
    train_step(state, BATCH)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert as_bytes(params) == before
    assert as_bytes(nnx.to_pure_dict(nnx.state(MODEL, nnx.Param))) == before


def test_step_without_dropout_is_the_update_computed_by_hand():
    definition, params = split_model(Small(0.0))
    train_step = make_train_step(definition, loss_fn, OPTIMIZER)
    state, metrics = train_step(init_state(params, OPTIMIZER), BATCH)

    def loss(p):
        hidden = jnp.tanh(BATCH["x"] @ p["first"]["kernel"] + p["first"]["bias"][None]) + 2.0
        logits = hidden @ p["second"]["kernel"] + p["second"]["bias"][None]
        logits = logits * (1 + p["alpha"][None])
        log_probabilities = logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        return -jnp.mean(log_probabilities[jnp.arange(6), BATCH["labels"]])

    value, grads = jax.value_and_grad(loss)(params)
    norm = np.sqrt(sum(float(jnp.sum(g * g)) for g in jax.tree.leaves(grads)))
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-6)
    # The norm before clipping.
    assert norm > 0.05
    assert float(metrics["grad_norm"]) == pytest.approx(norm, rel=1e-5)
    for path, param in jax.tree_util.tree_leaves_with_path(params):
        name, grad, updated = jax.tree_util.keystr(path), grads, state.params
        for key in path:
            grad, updated = grad[key.key], updated[key.key]
        grad = grad * 0.05 / norm
        # First step of Adam: m / √v of the bias-corrected moments is g / |g|.
        update = grad / (jnp.abs(grad) + 1e-8) + (0.1 * param if param.ndim >= 2 else 0)
        rate = 1e-2 * (3.0 if name == "['alpha']" else 1.0)
        np.testing.assert_allclose(updated, param - rate * update, rtol=2e-5, atol=1e-7)


def test_step_is_compiled_once(train_step, definition_and_params):
    _, params = definition_and_params
    state = fresh(params)
    state, _ = train_step(state, BATCH)
    count = train_step._cache_size()
    for _ in range(3):
        state, _ = train_step(state, {name: array.copy() for name, array in BATCH.items()})
    assert train_step._cache_size() == count


def test_prediction_has_no_dropout(definition_and_params):
    definition, params = definition_and_params
    predict_step = make_predict_step(definition, lambda model, batch: {"y": model(batch["x"])})
    expected = Small(0.5)(jnp.asarray(BATCH["x"]))
    first, again = (predict_step(params, BATCH)["y"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, expected, rtol=1e-6)


def test_definition_gives_the_model_back(definition_and_params):
    definition, params = definition_and_params
    # What is not trained stays with the definition.
    assert set(params) == {"first", "second", "alpha"}
    scaled = jax.tree.map(lambda p: p * 2, params)
    model = definition.bind(scaled)
    np.testing.assert_array_equal(model.alpha[...], [1.0])
    np.testing.assert_array_equal(model.offset[...], [2.0])
    assert optax.tree.norm(scaled) == pytest.approx(2 * float(optax.tree.norm(params)))
