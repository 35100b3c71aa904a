import sys
from types import ModuleType, SimpleNamespace

import pytest

from hopfield_attn.train.interrupt import Interrupted
from hopfield_attn.train.logging import MetricsLog
from hopfield_attn.train.tracking import open_tracker


def test_nothing_is_tracked_by_default(tmp_path):
    with open_tracker("", tmp_path, None, start_step=0) as track:
        track(1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_library_names_the_extra(tmp_path, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(ModuleNotFoundError, match=f"needs the library {module}.*EXTRAS=tracking"),
        open_tracker(name, tmp_path, None, start_step=0),
    ):
        raise AssertionError("opened")


def test_an_unknown_tracker_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="did you mean 'tensorboard'"),
        open_tracker("tensorbord", tmp_path, None, start_step=0),
    ):
        raise AssertionError("opened")


def test_tensorboard_gets_every_logged_value(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra tracking is not installed")
    with (
        open_tracker("tensorboard", tmp_path, None, start_step=0) as track,
        MetricsLog(tmp_path, start_step=0, track=track) as log,
    ):
        log.write(3, 1.5, grad_norm=0.25)
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    assert b"loss" in content
    assert b"grad_norm" in content


@pytest.fixture
def wandb(monkeypatch):
    """What a library in the place of W&B was told: options of init, (step, values), exit code."""
    seen = []
    run = SimpleNamespace(
        log=lambda values, step: seen.append((step, values)),
        finish=lambda exit_code: seen.append(exit_code),
    )
    fake = ModuleType("wandb")
    fake.init = lambda **options: seen.append(options) or run
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return seen


CONFIG = SimpleNamespace(to_dict=lambda: {"seed": 0})


def test_wandb_gets_config_and_values_and_is_finished(tmp_path, wandb):
    with open_tracker("wandb", tmp_path, CONFIG, start_step=0) as track:
        track(2, {"loss": 0.5})
    options, *rest = wandb
    assert options.pop("id")
    assert options == {
        "dir": str(tmp_path),
        "name": tmp_path.name,
        "config": {"seed": 0},
        "resume": "allow",
    }
    assert rest == [(2, {"loss": 0.5}), 0]


def test_run_that_goes_on_is_the_same_run_of_wandb_and_another_one_is_not(tmp_path, wandb):
    for folder, start_step in (("one", 0), ("one", 4), ("two", 0)):
        (tmp_path / folder).mkdir(exist_ok=True)
        with open_tracker("wandb", tmp_path / folder, CONFIG, start_step=start_step):
            pass
    first, again, other = (options["id"] for options in wandb[::2])
    assert first == again != other
    assert first.isalnum()


def test_wandb_id_that_is_no_id_is_named(tmp_path, wandb):
    for text in ("", "../x", "a" * 65):
        (tmp_path / "wandb_id.txt").write_text(text)
        with (
            pytest.raises(ValueError, match=r"wandb_id.txt: must hold .* letters and digits; got"),
            open_tracker("wandb", tmp_path, CONFIG, start_step=0),
        ):
            raise AssertionError("opened")


@pytest.mark.parametrize(
    ("error", "code"), [(FloatingPointError, 1), (KeyboardInterrupt, 1), (Interrupted, 75)]
)
def test_wandb_hears_of_a_run_that_does_not_end_well(error, code, tmp_path, wandb):
    with (
        pytest.raises(error),
        open_tracker("wandb", tmp_path, CONFIG, start_step=0),
    ):
        raise error(3)
    assert wandb[-1] == code
