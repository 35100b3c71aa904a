"""What commands have written into the documentation is what the code has now."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("script", ["draw_energies", "measure_gradient_modes", "measure_overheads"])
def test_generated_parts_are_those_of_the_results_and_the_tables(script):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / f"{script}.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_code_for_a_head_of_ones_own_runs(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"## A head of your own model\n.*?```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(compile(block, "analysis.md", "exec"), scope)
    assert np.isfinite(scope["found"].energies).all() and scope["found"].energies.shape == (4,)
    assert scope["wells"].wells.num_wells == 1
    # Beyond the certificate there are several.
    assert scope["phases"].counts[0].tolist() == [1, 1, 1] and scope["phases"].counts.max() > 1
    for name in ("wells", "phases"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_resolve(page):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    for target in targets:
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def resolve(name):
    """The object that a dotted name of the package stands for."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(["hopfield_attn", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[cut:]:
            found = getattr(found, attribute)
        return found
    found = importlib.import_module("hopfield_attn")
    for attribute in parts:
        found = getattr(found, attribute)
    return found


def test_every_function_that_the_mathematics_names_exists():
    text = (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")
    names = set(
        re.findall(r"`(?:hopfield_attn\.)?((?:energies|solvers|analysis|nn|ops)\.[\w.]+)", text)
    )
    names |= set(re.findall(r"`hopfield_attn\.(\w+)", text))
    assert len(names) > 10
    for name in names:
        resolve(name)
