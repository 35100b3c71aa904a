import sys
from types import ModuleType, SimpleNamespace

import pytest

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


def test_wandb_gets_config_and_values_and_is_finished(tmp_path, monkeypatch):
    seen = []
    run = SimpleNamespace(
        log=lambda values, step: seen.append((step, values)), finish=lambda: seen.append("finished")
    )
    fake = ModuleType("wandb")
    fake.init = lambda **options: seen.append(options) or run
    monkeypatch.setitem(sys.modules, "wandb", fake)
    config = SimpleNamespace(to_dict=lambda: {"seed": 0})
    with open_tracker("wandb", tmp_path / "run", config, start_step=0) as track:
        track(2, {"loss": 0.5})
    assert seen == [
        {"dir": str(tmp_path / "run"), "name": "run", "config": {"seed": 0}},
        (2, {"loss": 0.5}),
        "finished",
    ]
