"""Retrieve a pattern, and watch it fall into its well.

  python examples/retrieve_a_pattern.py [--out PICTURE.png]

Stores pictures of digits-like patterns in a modern Hopfield network, damages one and retrieves it;
then draws the energy over the plane through three stored patterns, with descents from all around.
"""

import argparse
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from hopfield_attn import memory_energy, retrieval_descent, retrieve
from hopfield_attn.analysis.landscape import draw_landscape

GLYPHS = {
    "cross": ("#...#", ".#.#.", "..#..", ".#.#.", "#...#"),
    "ring": (".###.", "#...#", "#...#", "#...#", ".###."),
    "bar": ("..#..", "..#..", "..#..", "..#..", "..#.."),
    "steps": ("#....", "##...", "###..", "####.", "#####"),
}


def stored_patterns():
    """The glyphs as rows of ±1, (4, 25)."""
    rows = ["".join(lines) for lines in GLYPHS.values()]
    return jnp.array([[1.0 if cell == "#" else -1.0 for cell in row] for row in rows])


def show(*patterns):
    """Prints patterns side by side."""
    grids = [np.asarray(p).reshape(5, 5) > 0 for p in patterns]
    for k in range(5):
        print("   ".join("".join("█" if cell else "·" for cell in grid[k]) for grid in grids))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("retrieval.png"), help="the picture")
    out = parser.parse_args(arguments).out
    memories = stored_patterns()

    # Half of the ring is erased, and noise is put over what is left.
    damaged = memories[1].at[12:].set(0.0)
    damaged += 0.4 * jax.random.normal(jax.random.key(0), damaged.shape)
    # beta="auto": the smallest β at which these memories are well separated.
    found = retrieval_descent(damaged[None], memories, beta="auto", num_steps=4)
    print("stored, damaged, retrieved:")
    show(memories[1], damaged, found.x[0])
    print("energy at each step:", found.energies[0].round(3))
    print("weights of the memories at the end:", found.weights[0].round(3))

    # The plane through three memories, in coordinates where they are points.
    corners = memories[:3]
    origin = corners.mean(0)
    basis = jnp.linalg.svd(corners - origin, full_matrices=False)[2][:2]
    points = (corners - origin) @ basis.T
    energy_fn = functools.partial(
        memory_energy, memories=memories, energy="modern_hopfield", beta=0.25
    )
    starts = 5.0 * jnp.array([[np.cos(a), np.sin(a)] for a in np.arange(0.2, 6.3, 0.7)])
    states = [retrieve(origin + starts @ basis, memories, beta=0.25, num_steps=t) for t in range(5)]
    draw_landscape(
        out,
        lambda p: energy_fn(origin + p @ basis),
        extent=(-6.0, 6.0, -5.5, 5.5),
        points=np.asarray(points),
        paths=np.stack([np.asarray((x - origin) @ basis.T) for x in states], axis=1),
        title="Every descent ends at a stored pattern",
        labels=("first direction", "second direction"),
    )
    print(f"picture: {out}")
    return found


if __name__ == "__main__":
    main()
