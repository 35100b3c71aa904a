"""Less memory for the same step: parts of a batch, layers computed again, bfloat16 inside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hopfield_attn.models.encoder import Encoder
from hopfield_attn.train.accumulate import accumulated, num_rows
from tests.train.device_layouts import CONFIG, mlm_batch, run


@pytest.fixture(scope="module")
def step():
    """(changes) → what one device prints of two steps."""
    from configs.defaults import get_defaults

    def step(**changes):
        config = get_defaults()
        settings = {name.replace("_0_", "."): value for name, value in changes.items()}
        config.update_from_flattened_dict(CONFIG | {"mesh.data": 1} | settings)
        return run(config, 2)

    return step


def values(found):
    return [float.fromhex(v) for name in ("losses", "grad_norms") for v in found[name]]


def test_parts_of_a_batch_with_uneven_weights_give_its_loss_and_gradients(step):
    whole, parts = step(), step(train_0_accumulate=4)
    np.testing.assert_allclose(values(parts), values(whole), rtol=1e-6)
    assert parts["temp_bytes"] < 0.6 * whole["temp_bytes"]


@pytest.mark.core
def test_mean_over_parts_is_weighted_and_every_part_has_a_dropout_key_of_its_own():
    batch = {"x": jnp.arange(6.0), "w": jnp.array([0.0, 1, 2, 3, 0, 1])}

    def compute(params, part, key):
        loss = jnp.sum(part["w"] * part["x"] * params) / jnp.sum(part["w"])
        return loss, jax.random.uniform(key)

    key = jax.random.key(3)
    loss, mean = accumulated(compute, lambda part: jnp.sum(part["w"]), num_parts=2)(
        jnp.array(2.0), batch, key
    )
    np.testing.assert_allclose(loss, compute(2.0, batch, key)[0], rtol=1e-6)
    # Part 0 has the rows 0, 2, 4 with weight 2 of 7.
    drawn = [float(jax.random.uniform(jax.random.fold_in(key, k))) for k in range(2)]
    np.testing.assert_allclose(mean, (2 * drawn[0] + 5 * drawn[1]) / 7, rtol=1e-6)
    assert accumulated(compute, num_rows, num_parts=1) is compute


@pytest.mark.slow
def test_layers_that_are_computed_again_draw_the_same_dropout(step):
    options = {"model_0_dropout_rate": 0.2, "model_0_attention_dropout_rate": 0.2}
    kept, again = step(**options), step(**options, model_0_remat=True)
    np.testing.assert_allclose(values(again), values(kept), rtol=1e-6)


def test_layers_that_are_computed_again_keep_one_state_each_for_the_reverse_pass():
    """Of what reverse mode keeps: XLA's CPU compiler undoes it, as it merges equal computations."""

    def kept_bytes(remat):
        encoder = Encoder(
            **{"vocab_size": 8, "max_length": 16, "width": 16, "num_layers": 3, "num_heads": 2},
            **{"mlp_width": 32, "dropout_rate": 0.1, "remat": remat},
            rngs=nnx.Rngs(0),
        )
        graphdef, params = nnx.split(encoder)
        tokens = jnp.zeros((4, 16), jnp.int32)

        def reverse(params):
            def run(params):
                rngs = nnx.Rngs(dropout=0)
                return nnx.merge(graphdef, params)(tokens, rngs=rngs)

            return jax.vjp(run, params)[1]

        leaves = jax.tree.leaves(jax.eval_shape(reverse, params))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

    state = 4 * 16 * 16 * 4
    assert kept_bytes(False) - kept_bytes(True) > 3 * 10 * state


def test_state_is_float32_when_the_computation_is_bfloat16(step):
    exact, found = step(), step(model_0_dtype="bfloat16")
    assert found["types"] == ["float32", "int32"]
    np.testing.assert_allclose(values(found), values(exact), rtol=0.03)
    assert values(found) != values(exact)


@pytest.mark.core
def test_batches_of_the_program_differ_in_weights():
    from configs.defaults import get_defaults

    config = get_defaults()
    config.update_from_flattened_dict(CONFIG)
    weights = mlm_batch(config, 0)["label_weights"].reshape(-1, 4, 2).sum(axis=(0, 2))
    assert len(set(weights)) > 1
