import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hopfield_attn.train.checkpoint import Checkpoints
from hopfield_attn.train.state import TrainState, init_state

OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2))


def make_state(step: int = 0) -> TrainState:
    params = {
        "layers": {0: {"kernel": jnp.linspace(-1, 1, 6).reshape(2, 3)}},
        "half": jnp.array([1.5, jnp.finfo(jnp.bfloat16).tiny, 3.140625], jnp.bfloat16),
        "alpha": jnp.array([0.1, -0.0, 1e-42]),  # signs of zero and subnormals survive
    }
    state = init_state(params, OPTIMIZER)
    grads = jax.tree.map(lambda p: (jnp.ones_like(p) * 0.3).astype(p.dtype), params)
    for _ in range(step):
        updates, opt_state = OPTIMIZER.update(grads, state.opt_state, state.params)
        state = TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state)
    return state


def as_bytes(state):
    return [
        (jax.tree_util.keystr(path), leaf.dtype, leaf.shape, np.asarray(leaf).tobytes())
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    ]


def test_restored_state_is_the_saved_one_bit_by_bit(tmp_path):
    state = make_state(3)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(state)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        restored = checkpoints.restore_latest(make_state(0))
    assert isinstance(restored, TrainState)
    # The structure too: the optimizer's named tuples, and integer keys of the parameters.
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert as_bytes(restored) == as_bytes(state)
    assert restored.step.dtype == jnp.int32
    assert restored.params["half"].dtype == jnp.bfloat16


def test_nothing_is_restored_from_an_empty_folder(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.restore_latest(make_state()) is None


def test_the_newest_checkpoints_are_kept(tmp_path):
    with Checkpoints(tmp_path / "checkpoints", keep=2) as checkpoints:
        for step in (1, 2, 3, 4):
            checkpoints.save(make_state(step))
    assert sorted(entry.name for entry in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]
    with Checkpoints(tmp_path / "checkpoints", keep=2) as checkpoints:
        assert as_bytes(checkpoints.restore_latest(make_state())) == as_bytes(make_state(4))


def test_saving_a_step_twice_changes_nothing(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(make_state(2))
        checkpoints.save(make_state(2))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert int(checkpoints.restore_latest(make_state()).step) == 2


def test_a_state_that_is_donated_right_after_saving_is_saved_whole(tmp_path):
    """Writing goes on in the background, and the next step reuses the memory of this state."""

    @jax.jit(donate_argnums=0)
    def advance(state):
        params = jax.tree.map(lambda p: p * 0.5 + 1, state.params)
        return TrainState(state.step + 1, params, state.opt_state)

    params = {"large": jax.random.normal(jax.random.key(0), (512, 1024))}
    state = init_state(params, OPTIMIZER)
    with Checkpoints(tmp_path / "checkpoints", keep=5) as checkpoints:
        for _ in range(3):
            expected = as_bytes(state)
            checkpoints.save(state)
            state = advance(state)
            state = advance(state)
    # The newest: nothing waited for it but the end of the run.
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        restored = checkpoints.restore_latest(init_state(params, OPTIMIZER))
    assert as_bytes(restored) == expected


def test_folder_that_is_not_complete_is_no_checkpoint(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(make_state(1))
    (tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp").mkdir()
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert int(checkpoints.restore_latest(make_state()).step) == 1


def test_last_save_is_waited_for_although_the_run_fails(tmp_path):
    with pytest.raises(RuntimeError), Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(make_state(1))
        raise RuntimeError
    assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["1"]
