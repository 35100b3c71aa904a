"""A dry run says what a run takes, and touches nothing."""

import io

import jax
import pytest
from rich.console import Console

from configs.defaults import get_defaults
from hopfield_attn.models.registry import num_parameters
from hopfield_attn.train.dry_run import dry_run
from hopfield_attn.train.flops import encoder_flops, step_flops
from hopfield_attn.train.tasks import make_model, make_task
from tests.train.blueprints import check_rows
from tests.train.device_layouts import CONFIG


def mlm_config():
    config = get_defaults()
    config.update_from_flattened_dict(CONFIG | {"data.vocab_size": 512, "data.length": 16})
    return config


@pytest.mark.parametrize("task", ["mlm", "synthetic"])
def test_step_reads_what_the_batches_have(task, make_config, tmp_path):
    config = mlm_config() if task == "mlm" else make_config()
    check_rows(make_task(config, tmp_path))


def test_parameters_are_counted_and_no_data_is_read(tmp_path, monkeypatch):
    config = mlm_config()
    config.data.source = "/no/such/file"
    monkeypatch.chdir(tmp_path)
    console = Console(file=io.StringIO(), width=200)
    found = dry_run(config, console=console)
    assert found.num_parameters == num_parameters(make_model(config))
    # Parameters and two moments, float32; the batch is small.
    assert found.state_bytes == pytest.approx(12 * found.num_parameters, rel=0.05)
    assert found.temporary_bytes > 0
    assert f"{found.num_parameters:,}" in console.file.getvalue()
    assert list(tmp_path.iterdir()) == []


def test_models_count_of_linear_heads_is_near_the_compilers():
    config = mlm_config()
    config.model.update(heads="identity", width=64, mlp_width=256)
    found = dry_run(config, console=Console(file=io.StringIO()))
    assert 0.8 < found.model_flops / (found.compiled_flops * jax.device_count()) < 1.1


@pytest.mark.core
def test_operations_of_non_linear_heads_grow_by_two_products_a_step():
    model = mlm_config().model.to_dict() | {"heads": "identity:1,quadratic:3"}
    counts = [encoder_flops(model | {"num_steps": T}, length=16) for T in (0, 1, 4)]
    assert counts[1] - counts[0] == 3 * 2 * (2 * 16**2 * 8)
    assert counts[2] - counts[0] == 4 * (counts[1] - counts[0])
    # An elementwise head needs A y alone.
    elementwise = model | {"coupling": "elementwise", "num_steps": 4}
    assert encoder_flops(elementwise, length=16) == counts[0]
    config = mlm_config()
    whole = step_flops(config, length=16)
    config.train.batch_size *= 2
    assert step_flops(config, length=16) == 2 * whole
