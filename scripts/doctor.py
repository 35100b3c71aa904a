"""Says whether this machine is ready to train, and what to do where it is not.

  ./scripts/doctor [--workdir=DIR]

Checks the versions, the devices, that a step of the energy with F(u) = u is softmax attention on
them, and that DIR (the current folder, if none is named) can be written to.

Exit codes: 0 all is well, 1 something is not, 2 wrong arguments.
"""

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from configs.command_line import UsageError, take_options  # noqa: E402
from scripts.exit_codes import FAILED, run_command  # noqa: E402

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "grain", "orbax-checkpoint", "tokenizers")


class Problem(Exception):
    """Something is wrong; the message says what to do."""


def main(argv: list[str]) -> int:
    return run_command(_run, argv, help_text=__doc__)


def _run(argv: list[str]) -> int:
    options, _, rest = take_options(argv, names=("workdir",))
    if rest[1:]:
        raise UsageError(f"unexpected argument {rest[1]!r}; there is only --workdir=DIR")
    folder = Path(options.get("workdir", ".")).expanduser()
    checks: dict[str, Callable[[], str]] = {
        "versions": check_versions,
        "devices": check_devices,
        "identity": check_identity,
        "folder": lambda: check_folder(folder),
    }
    failed = False
    # Whatever is wrong belongs in the list, with the checks after it.
    for name, check in checks.items():
        try:
            mark, text = "ok", check()
        except Exception as error:
            mark, text, failed = "!!", f"{error}", True
        print(f"{mark}  {name:<9} {' '.join(text.split())}", flush=True)
    return FAILED if failed else 0


def check_versions() -> str:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            raise Problem(f"{name} is missing: delete .venv and run this again") from None
    return f"Python {sys.version.split()[0]}, {', '.join(found)}"


def check_devices() -> str:
    import jax

    try:
        devices = jax.devices()
    except RuntimeError as error:
        asked = os.environ.get("JAX_PLATFORMS")
        hint = f"JAX_PLATFORMS={asked} asks for it: unset it" if asked else "see the driver"
        raise Problem(f"JAX finds no device ({error}); {hint}") from None
    text = f"{len(devices)} × {devices[0].device_kind} ({devices[0].platform})"
    if devices[0].platform == "cpu" and Path("/dev/nvidia0").exists():
        raise Problem(
            f"{text}, and a GPU that JAX does not see: HOPFIELD_EXTRAS=cuda ./scripts/doctor"
        )
    return text


def check_identity() -> str:
    """One unit step of the energy with F(u) = u lands on softmax attention."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from hopfield_attn import nonlinear_attention, nonlinearities

    q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 16, 2, 8))
    with jax.default_matmul_precision("float32"):
        found = nonlinear_attention(
            *(q, k, v),
            nonlinearity=nonlinearities.identity(),
            lam=0.0,
            num_steps=1,
            step_size=1.0,
            implementation="autodiff",
        )
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    logits = np.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    error = float(jnp.max(jnp.abs(found - np.einsum("bhnm,bmhd->bnhd", weights, v))))
    if not error < 1e-5:
        raise Problem(
            f"a unit step is not softmax attention, off by {error:.1e}: this device or its driver "
            "does not compute in float32; JAX_PLATFORMS=cpu ./scripts/doctor tells which"
        )
    return f"a unit step of the energy is softmax attention to {error:.0e}"


def check_folder(folder: Path) -> str:
    parent = folder
    while not parent.exists():
        parent = parent.parent
    try:
        with tempfile.NamedTemporaryFile(dir=parent) as file:
            file.write(b"x" * 2**20)
            file.flush()
    except OSError as error:
        raise Problem(f"{parent} cannot be written to ({error}): name another --workdir") from None
    return f"{folder.resolve()} can be written to"


if __name__ == "__main__":
    sys.exit(main(sys.argv))
