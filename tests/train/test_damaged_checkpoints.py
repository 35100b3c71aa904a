"""What is loaded is what was saved: a damaged checkpoint never becomes weights."""

import json
import random
import shutil

import jax
import jax.numpy as jnp
import pytest

from hopfield_attn.train.checkpoint import Checkpoints
from hopfield_attn.train.whole_checkpoint import CheckpointError, restore_params
from tests.train.test_checkpoint import as_bytes, make_state


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the checkpoints of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(make_state(1))
        checkpoints.save(make_state(2))
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of ``saved`` that a test may damage."""
    return shutil.copytree(saved, tmp_path / "checkpoints")


def restore(folder, like=None):
    """The restored state, and the lines that were said."""
    said = []
    with Checkpoints(folder, say=said.append) as checkpoints:
        return checkpoints.restore_latest(like or make_state()), said


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def flip(file, rng):
    content = bytearray(file.read_bytes())
    bit = rng.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def truncate(file, rng):
    file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])


def damage_campaign(saved, tmp_path, *, num_damages):
    """Damages step 2 in one place at a time; counts what was loaded: a step, or a wrong state."""
    states = {1: as_bytes(make_state(1)), 2: as_bytes(make_state(2))}
    params = {step: as_bytes(make_state(step).params) for step in states}
    outcomes = {1: 0, 2: 0, "wrong": 0}
    for number in range(num_damages):
        rng = random.Random(number)
        folder = shutil.copytree(saved, tmp_path / str(number))
        file = rng.choice(files_of(folder / "2"))
        (flip if number % 2 else truncate)(file, rng)
        said = []
        step, found = restore_params(folder, make_state().params, say=said.append)
        outcomes["wrong"] += as_bytes(found) != params[step]
        assert names(folder) == ["1", "2"]
        state, said = restore(folder)
        step = int(state.step)
        outcomes[step] += 1
        outcomes["wrong"] += as_bytes(state) != states[step]
        assert names(folder) == (["1", "2"] if step == 2 else ["1", "2.rejected"])
        assert len(said) == (step == 1)
        shutil.rmtree(folder)
    return outcomes


def test_no_flipped_bit_and_no_truncated_file_changes_what_is_loaded(saved, tmp_path):
    outcomes = damage_campaign(saved, tmp_path, num_damages=12)
    assert outcomes["wrong"] == 0
    # Some files of a checkpoint are not needed to load it; others are.
    assert outcomes[1] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_200_flips_and_200_truncations_none_changes_what_is_loaded(saved, tmp_path):
    outcomes = damage_campaign(saved, tmp_path, num_damages=400)
    print(outcomes)
    assert outcomes["wrong"] == 0
    assert outcomes[1] > 40


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda step: shutil.rmtree(step / "checksums"), "it has no checksums"),
        (lambda step: shutil.rmtree(step / "state"), ""),
        (lambda step: shutil.rmtree(step / "state" / "d"), ""),
        (lambda step: (shutil.rmtree(step), step.mkdir()), "it has no checksums"),
        (lambda step: (step / "checksums" / "metadata").write_text("{}"), "its checksums"),
        (lambda step: (step / "checksums" / "metadata").write_text("[" * 10**5), "its checksums"),
        (
            lambda step: (shutil.rmtree(step), shutil.copytree(step.parent / "1", step)),
            "it is a copy of step 1",
        ),
    ],
)
def test_checkpoint_that_is_not_whole_is_put_aside_with_a_line(damage, reason, folder):
    damage(folder / "2")
    state, (line,) = restore(folder)
    assert as_bytes(state) == as_bytes(make_state(1))
    assert names(folder) == ["1", "2.rejected"]
    assert line.startswith(f"checkpoint 2 is damaged ({reason}")
    assert line.endswith("kept as 2.rejected, not used; step 1 is whole")
    assert "\n" not in line


def test_parameters_of_a_copy_of_another_step_are_not_taken_for_those_of_its_name(folder):
    shutil.rmtree(folder / "2")
    shutil.copytree(folder / "1", folder / "2")
    said = []
    step, params = restore_params(folder, make_state().params, say=said.append)
    assert step == 1
    assert as_bytes(params) == as_bytes(make_state(1).params)
    assert "checkpoint 2 is damaged (it is a copy of step 1); step 1 is used" in said[0]
    assert names(folder) == ["1", "2"]


def test_array_that_differs_from_its_checksum_is_not_loaded(folder):
    """What orbax itself loads without a word."""
    other = make_state(2)
    other.params["alpha"] = other.params["alpha"] * 2
    shutil.move(folder / "2", folder.parent / "true")
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(other)
    shutil.rmtree(folder / "2" / "checksums")
    shutil.copytree(folder.parent / "true" / "checksums", folder / "2" / "checksums")
    state, (line,) = restore(folder)
    assert int(state.step) == 1
    assert "1 of 13 arrays differ from their checksum" in line, line


def test_rejected_checkpoint_is_kept_and_its_step_can_be_saved_again(folder):
    for expected in (["1", "2", "2.rejected"], ["1", "2", "2.rejected", "2.rejected.2"]):
        shutil.rmtree(folder / "2" / "checksums")
        with Checkpoints(folder, say=lambda line: None) as checkpoints:
            assert int(checkpoints.restore_latest(make_state()).step) == 1
            checkpoints.save(make_state(2))
        assert names(folder) == expected
        assert as_bytes(restore(folder)[0]) == as_bytes(make_state(2))


def test_where_all_checkpoints_are_damaged_nothing_is_loaded_and_nothing_changed(folder):
    for step in ("1", "2"):
        shutil.rmtree(folder / step / "state")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"every checkpoint in .* is damaged \(2: .*; 1:"):
            restore(folder)
        with pytest.raises(CheckpointError, match="every checkpoint in"):
            restore_params(folder, make_state().params)
        assert names(folder) == ["1", "2"]
    (folder / "1").rename(folder / "1.rejected")
    shutil.rmtree(folder / "2")
    # A start from step 0 would pass for the run that was there.
    with pytest.raises(CheckpointError, match="all are rejected"):
        restore(folder)


def test_another_architecture_names_five_paths_and_rejects_nothing(folder):
    like = make_state()
    like.params = {f"layer{k}": jnp.zeros(3) for k in range(4)} | {"alpha": jnp.zeros(2)}
    with pytest.raises(ValueError) as caught:
        restore(folder, like)
    message = str(caught.value)
    assert "params.alpha is float32 (3,) there, and float32 (2,) in the model" in message
    assert "params.layer0 is absent there, and float32 (3,) in the model" in message
    assert message.count(" there, and ") == 5
    assert "more" in message and "\n" not in message
    with pytest.raises(ValueError, match=r"params\.alpha is float32 \(3,\) there"):
        restore_params(folder, like.params)
    assert names(folder) == ["1", "2"]


def test_another_dtype_is_refused_and_not_cast(folder):
    like = make_state()
    like.params["half"] = like.params["half"].astype(jnp.float32)
    with pytest.raises(ValueError, match=r"half is bfloat16 \(3,\) there, and float32 \(3,\)"):
        restore_params(folder, like.params)
    assert names(folder) == ["1", "2"]


def test_what_is_no_damage_rejects_nothing(folder, monkeypatch):
    def exhaust(*args, **kwargs):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr("hopfield_attn.train.whole_checkpoint._restore", exhaust)
    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
        restore(folder)
    assert names(folder) == ["1", "2"]


def test_checksums_list_every_array_of_the_state(folder):
    listed = json.loads((folder / "2" / "checksums" / "metadata").read_text())["arrays"]
    assert len(listed) == len(jax.tree.leaves(make_state()))
    assert listed["params.half"][:2] == ["bfloat16", [3]]
