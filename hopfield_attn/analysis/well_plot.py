"""The picture of a head's wells: its energy in a plane through them, and descents into them."""

from io import BytesIO
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hopfield_attn.analysis.head_wells import HeadWells
from hopfield_attn.analysis.landscape import DESCENT_COLOR, POINT_COLOR, draw_landscape
from hopfield_attn.solvers.rules import backtrack
from hopfield_attn.typing import Array, EnergyFn, Float, ScalarLike

_STYLE: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_MARGIN = 0.25
_NUM_STEPS = 60
_WITHOUT_WELL = {
    "diverged": "fall without end",
    "step cap": "have not arrived",
    "non-finite": "leave what a number can hold",
    "saddle": "end at a saddle",
}
"""Status of a start → what became of it."""


def trajectories(
    energy_fn: EnergyFn,
    starts: Float[Array, "starts ..."],
    *,
    step_size: ScalarLike,
    backtracking: bool = False,
) -> Float[Array, "starts steps ..."]:
    """States of gradient descent from every start, the start first."""

    def step(x: Array, _: None) -> tuple[Array, Array]:
        energy, grad = jax.value_and_grad(energy_fn)(x)
        update = -step_size * grad
        if backtracking:
            update = backtrack(energy_fn, x, update, energy)
        return x + update, x

    def follow(x0: Array) -> Array:
        return jax.lax.scan(step, x0, length=_NUM_STEPS)[1]

    return jax.jit(jax.vmap(follow))(starts)


def draw_wells(
    path: Path | BytesIO, found: HeadWells, *, num_descents: int = 16, title: str | None = None
) -> None:
    """Draws the energy over the plane through the wells, or over the line where z is one number.

    The plane goes through the lowest well, towards the next one (where there is one) and along the
    principal components of the starts and wells. Descents are projected onto it: those that start
    far from the plane may seem to cross contours.

    Args:
      path: the PNG file, or an open one.
      found: of :func:`hopfield_attn.analysis.head_wells.head_wells`.
      num_descents: drawn.
      title: above the picture; ``None`` says how many wells there are.
    """
    title = describe_wells(found) if title is None else title
    starts = found.starts[:num_descents]
    trails = np.asarray(
        trajectories(
            found.energy_fn,
            jnp.asarray(starts),
            step_size=found.step_size,
            backtracking=found.backtracking,
        )
    )
    shape = starts.shape[1:]
    trails = trails.reshape(len(starts), -1, int(np.prod(shape)))
    if trails.shape[-1] == 1:
        _draw_line(path, found, trails[:, :, 0], title)
        return
    origin, basis = wells_plane(found)
    project = (trails - origin) @ basis.T
    wells = (found.wells.states.reshape(-1, origin.size) - origin) @ basis.T
    shown = np.concatenate([wells, project[:, 0]])
    low, high = shown.min(axis=0), shown.max(axis=0)
    middle, half = (low + high) / 2, max(float(np.max(high - low)) / 2, 1e-3) * (1 + _MARGIN)
    left, bottom = middle - half
    right, top = middle + half

    def in_plane(p: Array) -> Array:
        return found.energy_fn((jnp.asarray(origin) + p @ jnp.asarray(basis)).reshape(shape))

    draw_landscape(
        path,
        in_plane,
        extent=(float(left), float(right), float(bottom), float(top)),
        points=wells,
        point_labels=[f"{share:.0%}" for share in found.wells.basins],
        paths=np.clip(project, [left, bottom], [right, top]),
        floor=0.0 if found.wells.num_wells else 0.2,
        title=title,
        labels=("first direction, ‖x‖ = 1 a unit", "second direction"),
        size=(5.2, 4.4),
    )


def describe_wells(found: HeadWells) -> str:
    """The message of the picture in one line."""
    wells = found.wells
    if not wells.num_wells:
        message = "No well" if wells.share("diverged") else "No well was found"
        shares = [(wells.share(name), became) for name, became in _WITHOUT_WELL.items()]
        (share, became), *others = [(share, became) for share, became in shares if share]
        parts = [f"{share:.0%} of {len(wells.statuses)} starts {became}"]
        parts += [f"{share:.0%} {became}" for share, became in others]
        return f"{message}: {', '.join(parts)}"
    if wells.num_wells == 1:
        return f"One well: {wells.basins[0]:.0%} of {len(wells.statuses)} starts end in it"
    return f"{wells.num_wells} wells: the deepest takes {wells.basins[0]:.0%} of the starts"


def wells_plane(found: HeadWells) -> tuple[np.ndarray, np.ndarray]:
    """(origin (N,), orthonormal rows (2, N)) of the plane through the wells, N ≥ 2."""
    starts = found.starts.reshape(len(found.starts), -1)
    wells = found.wells.states.reshape(-1, starts.shape[1])
    origin = wells[0] if len(wells) else starts[0]
    directions = [wells[1] - origin] if len(wells) > 1 else []
    # Wells count more than starts: a third well should lie near the plane.
    cloud = np.concatenate([10.0 * (wells - origin), starts - origin]).astype(np.float64)
    directions += list(np.linalg.svd(cloud, full_matrices=True)[2][:3])
    basis: list[np.ndarray] = []
    for direction in directions:
        rest = direction - sum((direction @ b) * b for b in basis)
        size = np.linalg.norm(rest)
        if size > 1e-6 * max(1.0, float(np.linalg.norm(direction))):
            basis.append(rest / size)
    return origin, np.array(basis[:2]).astype(starts.dtype)


def _draw_line(path: Path | BytesIO, found: HeadWells, trails: np.ndarray, title: str) -> None:
    wells = found.wells.states.ravel()
    ends = np.concatenate([trails[:, 0], wells])
    z = np.linspace(ends.min() - 0.3, ends.max() + 0.3, 241).astype(trails.dtype)
    shape = (-1, *found.starts.shape[1:])
    energy = jax.jit(jax.vmap(found.energy_fn))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 3.6), layout="constrained", dpi=130)
        axes = figure.subplots()
        axes.plot(z, energy(z.reshape(shape)), color=POINT_COLOR, linewidth=1.6)
        heights = np.asarray(energy(trails[:, :1].reshape(shape)))
        axes.plot(trails[:, 0], heights, "o", mfc="white", color=DESCENT_COLOR, markersize=4)
        for state, low, share in zip(wells, found.wells.energies, found.wells.basins, strict=True):
            axes.plot(state, low, "x", color=DESCENT_COLOR, markersize=9, markeredgewidth=2)
            axes.annotate(
                f"{share:.0%}", (state, low), xytext=(0, -13), textcoords="offset points",
                ha="center", fontsize=8,
            )  # fmt: skip
        axes.margins(y=0.15)
        axes.set(xlabel="state z, ‖x‖ = 1 a unit", ylabel="energy (nats/β)")
        figure.suptitle(title, fontsize=10)
        figure.savefig(path, format="png")
