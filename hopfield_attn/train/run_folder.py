"""The folder of a run: its resolved config, versions and result, and who may go on in it."""

import importlib.metadata
import json
import os
import platform
import reprlib
import resource
import sys
from pathlib import Path
from typing import Any

import jax

from hopfield_attn.data.corpus import EMBEDDED
from hopfield_attn.data.hub import HUB_PREFIX
from hopfield_attn.data.json_fields import column_name
from hopfield_attn.files import read_json, write_json
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.run_files import read_run_config, read_versions
from hopfield_attn.train.source_commit import source_commit

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "grain", "tokenizers", "orbax-checkpoint")
FREE_KEYS = (
    "data.num_threads",
    "mesh.",
    "train.checkpoint_every",
    "train.energy_every",
    "train.keep_checkpoints",
    "train.log_every",
    "train.peak_flops",
    "train.tracking",
    "train.watchdog_seconds",
)
"""Keys that a resumed run may have anew: what is trained and scored does not depend on them."""
GONE_ON = "gone on with"
"""In ``versions.json``: for every time that a run went on with others, what was different."""
_MAX_DIFFERENCES = 5


def open_run_folder(workdir: Path, config: Any) -> None:
    """Creates the folder and records config and versions; or checks that it is the same run.

    A folder whose run never made a step (its config was wrong, say) is started afresh.

    Args:
      workdir: the folder; created with its parents.
      config: the resolved ``ConfigDict``.

    Raises:
      ValueError: if the folder holds a run with another config; the message names the keys. Or if
        what it holds is no run, such as a BERT.
    """
    if holds_run(workdir, config):
        _record_other_versions(workdir)
        return
    _refuse_other_folder(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "tokenizer.json").unlink(missing_ok=True)
    write_json(workdir / "versions.json", versions())
    recorded = json.loads(config.to_json())
    for key, make_absolute in PATHS.items():
        section, _, name = key.partition(".")
        recorded[section][name] = make_absolute(recorded[section][name])
    write_json(workdir / "config.json", recorded)


def holds_run(workdir: Path, config: Any) -> bool:
    """Whether ``workdir`` holds the run of ``config``, begun or finished; changes nothing.

    Raises:
      ValueError: if it holds a run with another config, and the message names the keys; or a file
        of it cannot be read.
    """
    recorded = begun_config(workdir)
    if recorded is None:
        return False
    _check_same(recorded, json.loads(config.to_json()), workdir)
    return True


def begun_config(workdir: Path) -> dict[str, Any] | None:
    """The recorded config of a run that has made a step; ``None`` where there is no such run."""
    path = workdir / "config.json"
    return read_json(path) if path.is_file() and _has_steps(workdir) else None


def absolute_path(path: str) -> str:
    """A path that is the same from every folder; "" stays none."""
    return os.path.abspath(Path(path).expanduser()) if path else ""


def absolute_dir(path: str) -> str:
    """The same for a folder of data, or a repository of the hub, whose name is kept."""
    return path if path.startswith(HUB_PREFIX) else absolute_path(path)


def absolute_source(paths: str) -> str:
    """The same for text files and folders joined with ":", the text of the package among them."""
    entries = paths.split(os.pathsep)
    return os.pathsep.join(p if p == EMBEDDED else absolute_path(p) for p in entries)


PATHS = {
    "model.pretrained": absolute_path,
    "data.dir": absolute_dir,
    "data.source": absolute_source,
}
"""Keys that name files: recorded and compared as they are from every folder."""


def _record_other_versions(workdir: Path) -> None:
    """Adds what differs from the versions that the run has gone on with last."""
    if (workdir / "result.json").is_file():
        return
    recorded, now = read_versions(workdir), versions()
    later = recorded.setdefault(GONE_ON, [])
    if not isinstance(later, list):
        return
    last = dict(recorded)
    for entry in later:
        last |= entry if isinstance(entry, dict) else {}
    differing = {name: value for name, value in now.items() if last.get(name) != value}
    if differing:
        later.append(differing)
        write_json(workdir / "versions.json", recorded)


def _refuse_other_folder(workdir: Path) -> None:
    """Raises ``ValueError`` where files would be overwritten that no run has made."""
    config, tokenizer = (workdir / name for name in ("config.json", "tokenizer.json"))
    if not config.is_file() and not tokenizer.is_file():
        return
    try:
        read_run_config(workdir)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(
            f"{workdir} holds files of something else than a run ({error}): name another workdir"
        ) from None


def versions() -> dict[str, Any]:
    """The commit, versions of Python and of the packages that figures depend on, and devices."""
    return {
        "commit": source_commit() or "not a checkout",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _has_steps(workdir: Path) -> bool:
    # Metrics alone don't tell: a run may save before it logs. Of a finished one both may be gone.
    checkpoints = workdir / "checkpoints"
    has_saved = checkpoints.is_dir() and any(checkpoints.iterdir())
    return has_saved or (workdir / "result.json").is_file() or bool(read_metrics(workdir))


def _check_same(old: dict[str, Any], new: dict[str, Any], workdir: Path) -> None:
    before, after = map(_fixed_values, (old, new))
    changed = [
        f"{column_name(key, inside='')}: {reprlib.repr(before.get(key, 'absent'))} there, "
        f"{reprlib.repr(after.get(key, 'absent'))} asked for"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, "absent") != after.get(key, "absent")
    ]
    if changed:
        listed = "; ".join(changed[:_MAX_DIFFERENCES])
        more = len(changed) - _MAX_DIFFERENCES
        raise ValueError(
            f"{workdir} holds a run with another config ({listed}"
            f"{f'; and {more} more' if more > 0 else ''}); set these keys back, or name a new run "
            "folder"
        )


def _fixed_values(tree: dict[str, Any]) -> dict[str, Any]:
    """The values by dotted key that a run keeps, paths in a form that can be compared."""
    fixed = {key: value for key, value in flatten(tree).items() if not key.startswith(FREE_KEYS)}
    paths = {key: fixed[key] for key in PATHS.keys() & fixed.keys()}
    return fixed | {key: PATHS[key](p) for key, p in paths.items() if isinstance(p, str)}


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested dicts by dotted key.

    Example:
      >>> flatten({"seed": 0, "model": {"width": 8}})
      {'seed': 0, 'model.width': 8}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat.update(flatten(value, f"{path}.") if isinstance(value, dict) else {path: value})
    return flat
