"""The README as a newcomer uses it: its code runs, its commands exist and start."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from hopfield_attn.train.optimizer import is_nonlinearity

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands():
    lines = "\n".join(blocks("sh")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def test_the_python_code_runs_and_does_what_it_says():
    scope = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), scope)
    result = scope["result"]
    assert np.all(np.diff(result.energies) <= 1e-5)
    np.testing.assert_allclose(result.x, scope["memories"][2], atol=0.05)
    assert scope["out"].shape == (2, 128, 4, 32)
    assert bool(jnp.all(jnp.isfinite(scope["out"])))
    block = scope["Block"](16, rngs=nnx.Rngs(0))
    x, mask = jnp.ones((2, 5, 16)), jnp.ones((2, 5), bool)
    grads = nnx.grad(lambda block: jnp.sum(block(x, mask) ** 2))(block)
    assert grads["attention"]["alpha"].shape == (4,)
    # The chain for a larger rate of α.
    chain = optax.chain(optax.sgd(0.01), optax.masked(optax.scale(10.0), is_nonlinearity))
    x = jax.random.normal(jax.random.key(0), (2, 5, 16))
    grads = nnx.grad(lambda block: jnp.sum(block(x, mask) ** 2))(block)
    alpha, kernel = block.attention.alpha[...], block.attention.query.kernel[...]
    nnx.Optimizer(block, chain, wrt=nnx.Param).update(block, grads)
    slopes = grads["attention"]
    for parameter, before, slope in (
        (block.attention.alpha, alpha, 10.0 * slopes["alpha"][...]),
        (block.attention.query.kernel, kernel, slopes["query"]["kernel"][...]),
    ):
        np.testing.assert_allclose(parameter[...], before - 0.01 * slope, rtol=1e-5, atol=1e-6)


def test_the_energy_in_ten_lines_is_ten_lines():
    assert len(blocks("python")[0].strip().splitlines()) <= 10


def test_the_first_screen_has_the_two_commands_and_the_picture():
    first_screen = README[: README.index("**Your own energy")]
    assert [command[0] for command in commands()[:2]] == ["./scripts/quickstart", "./scripts/test"]
    assert all(name in first_screen for name in ("./scripts/quickstart", "docs/quickstart.png"))
    assert len(first_screen.splitlines()) < 40


@pytest.mark.parametrize("command", sorted({command[0] for command in commands()}))
def test_commands_print_help(command):
    # Most make the environment first: their Python part is asked, in the tests' own.
    has_python_part = (ROOT / f"{command}.py").is_file()
    program = [sys.executable, f"{command}.py"] if has_python_part else [command]
    done = subprocess.run(
        [*program, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--" in done.stdout


@pytest.mark.parametrize(
    "command", [c for c in commands() if c[0] == "./scripts/train"], ids=lambda c: c[1]
)
def test_training_commands_parse(command, monkeypatch):
    from scripts.train import parse_arguments

    monkeypatch.chdir(ROOT)
    config, workdir = parse_arguments(command)
    assert config.train.num_steps > 0
    assert str(workdir).startswith("runs/")


def test_the_sweep_parses(monkeypatch):
    from scripts.sweep import plan, take_options

    monkeypatch.chdir(ROOT)
    (command,) = (c for c in commands() if c[0] == "./scripts/sweep")
    options, _, rest = take_options(command, names=("config", "workdir"))
    assert len(plan(options["config"], rest)) == 6


def test_links_to_files_resolve():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
