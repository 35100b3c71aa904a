"""Draws every energy and every F of the library, and writes docs/energies.md.

python scripts/draw_energies.py           # pictures into docs/energies/, then the page
python scripts/draw_energies.py --check   # exit 1 if the page does not list what the code has
"""

import argparse
import functools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from scipy.cluster.hierarchy import fclusterdata  # noqa: E402

from hopfield_attn import attention_energy, descend, nonlinearities, retrieve  # noqa: E402
from hopfield_attn.analysis.landscape import draw_landscape  # noqa: E402
from hopfield_attn.analysis.nonlinearity_plot import draw_nonlinearity  # noqa: E402
from hopfield_attn.energies.attention import COUPLINGS  # noqa: E402
from hopfield_attn.energies.memory import MEMORY_ENERGIES, memory_energy  # noqa: E402
from hopfield_attn.files import replace_generated, write_text  # noqa: E402

PAGE = ROOT / "docs" / "energies.md"
PICTURES = ROOT / "docs" / "energies"
STRENGTH = 3.0
STRENGTHS = (-0.5, 0.25, 0.8)
ANGLES = np.array([0.3, 1.7, 2.6, 3.9, 5.3])
PATTERNS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
EXTENT = (-1.7, 1.7, -1.5, 1.5)
STARTS = np.array(
    [[1.4, -0.9], [-1.4, 1.0], [0.2, 1.3], [-1.3, -0.9], [0.4, -0.2]], dtype=np.float32
)
BETAS = {"dense_polynomial": 3.0, "dense_exponential": 3.0, "epanechnikov": 8.0}
# The descents slow down: few of the last states are needed, and they have arrived.
STEPS = (*range(0, 60, 2), 90, 150, 250, 400)
RETRIEVALS = (*range(7), 10, 15, 25, 50, 100, 200)
VALUES = 2.0 * PATTERNS


def draw_family(name: str) -> None:
    has_strength = name not in nonlinearities.WITHOUT_ALPHA
    families = {
        f"α = {alpha:+g}": nonlinearities.make_nonlinearity(name, alpha) for alpha in STRENGTHS
    }
    if not has_strength:
        families = {name: nonlinearities.make_nonlinearity(name)}
    draw_nonlinearity(PICTURES / f"F_{name}.png", families, u_range=(-3.0, 3.0))


def trails(energy_fn, starts, step_size):
    """The states of a descent from every start, (starts, states, 2)."""

    @functools.partial(jax.jit, static_argnames="num_steps")
    def go_on(x, num_steps):
        rule = optax.sgd(step_size)
        options = {"num_steps": num_steps, "rule": rule, "backtracking": True}
        return jax.vmap(lambda x: descend(energy_fn, x, **options).x)(x)

    states = [jnp.asarray(starts)]
    for num_steps in np.diff(STEPS).tolist():
        states.append(go_on(states[-1], num_steps))
    return np.stack(states, axis=1)


def title_of(name, energy_fn, paths):
    """The name, how many of the paths end where E is finite, and in how many places."""
    ends = [end for end in paths[:, -1] if np.isfinite(energy_fn(end))]
    which = fclusterdata(ends, 0.1, criterion="distance") if len(ends) > 1 else ends
    num_wells = len(np.unique(which, axis=0))
    starts = f"{len(ends)} of {len(paths)} starts end"
    return f"{name}: {starts} in {num_wells} well{'s' * (num_wells > 1)}"


def draw_coupling(name: str) -> None:
    weights = jnp.full((1, len(PATTERNS)), 1 / len(PATTERNS))

    def energy_fn(x):
        F = nonlinearities.log_cosh(STRENGTH)
        options = {"nonlinearity": F, "coupling": name, "lam": 0.0, "gain": 1.0}
        return attention_energy(x[None], jnp.asarray(VALUES), weights, **options)

    paths = trails(energy_fn, 2 * STARTS, 0.1)
    draw_landscape(
        PICTURES / f"E_{name}.png",
        energy_fn,
        extent=tuple(3.4 * edge for edge in EXTENT),
        points=VALUES,
        paths=paths,
        title=title_of(f"{name} coupling", energy_fn, paths),
    )


def draw_memory(name: str) -> None:
    options = {"energy": name, "beta": BETAS.get(name, 12.0)}
    memories = jnp.asarray(PATTERNS)
    energy_fn = functools.partial(memory_energy, memories=memories, **options)
    starts = jnp.asarray(STARTS)
    if MEMORY_ENERGIES[name].on_sphere:
        starts = starts / jnp.linalg.norm(starts, axis=1, keepdims=True)
    states = [retrieve(starts, memories, num_steps=t, **options) for t in RETRIEVALS]
    paths = np.stack(states, axis=1)
    draw_landscape(
        PICTURES / f"E_{name}.png",
        energy_fn,
        extent=EXTENT,
        points=PATTERNS,
        paths=paths,
        floor=0.4 if MEMORY_ENERGIES[name].on_sphere else 0.0,
        title=title_of(name, energy_fn, paths),
    )


def families_part() -> str:
    header = ["| family | F'' between | grows | picture |", "| --- | --- | --- | --- |"]
    rows = []
    for name in nonlinearities.FAMILIES:
        F = nonlinearities.make_nonlinearity(name, 1.0)
        low, high = (f"{float(bound):.3g}".replace("inf", "∞") for bound in F.curvature_range)
        at = "" if name in nonlinearities.WITHOUT_ALPHA else " at α = 1"
        rows.append(
            f"| `{name}` | {low} and {high}{at} | {F.growth} | "
            f"![F, F' and F'' of {name}](energies/F_{name}.png) |"
        )
    return "\n".join(header + rows)


def gallery_part(names) -> str:
    pictures = [f"![{name}](energies/E_{name}.png)" for name in names]
    rows = [pictures[k : k + 3] for k in range(0, len(pictures), 3)]
    lines = ["| " + " | ".join(row + [""] * (3 - len(row))) + " |" for row in rows]
    return "\n".join(["| | | |", "| --- | --- | --- |", *lines])


def page() -> str:
    text = PAGE.read_text(encoding="utf-8")
    text = replace_generated(text, "nonlinearities", families_part())
    text = replace_generated(text, "couplings", gallery_part(COUPLINGS))
    return replace_generated(text, "memories", gallery_part(MEMORY_ENERGIES))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="draw nothing; compare the page")
    if parser.parse_args(arguments).check:
        pictures = {path.name for path in PICTURES.glob("*.png")}
        expected = {f"F_{name}.png" for name in nonlinearities.FAMILIES}
        expected |= {f"E_{name}.png" for name in (*COUPLINGS, *MEMORY_ENERGIES)}
        return int(PAGE.read_text(encoding="utf-8") != page() or pictures != expected)
    PICTURES.mkdir(exist_ok=True)
    jax.config.update("jax_enable_x64", True)
    for name in nonlinearities.FAMILIES:
        draw_family(name)
    for name in COUPLINGS:
        draw_coupling(name)
    for name in MEMORY_ENERGIES:
        draw_memory(name)
    write_text(PAGE, page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
