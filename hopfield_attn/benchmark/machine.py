"""What a measurement was made on; nothing that names one machine or one day."""

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

import jax


def num_threads() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine() -> dict[str, Any]:
    """Device, CPU model, threads and versions."""
    return {
        "backend": jax.default_backend(),
        "device": str(jax.devices()[0].device_kind),
        "cpu": cpu_model(),
        "threads": num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "flax", "torch")},
    }


def title_of(machine: dict[str, Any]) -> str:
    """The machine in a few words, for the title of a plot."""
    if machine["backend"] == "cpu":
        return f"{machine['threads']} threads of {machine['cpu']}, jax {machine['jax']}"
    return f"{machine['device']}, jax {machine['jax']}"


def slug_of(machine: dict[str, Any]) -> str:
    """The machine in a file name: device, threads of a CPU, version of jax.

    Example:
      >>> cpu = {"backend": "cpu", "cpu": "AMD EPYC", "threads": 2, "jax": "0.10.2"}
      >>> slug_of(cpu)
      'amd-epyc-2-jax-0-10-2'
    """
    is_cpu = machine["backend"] == "cpu"
    device = f"{machine['cpu']} {machine['threads']}" if is_cpu else machine["device"]
    return re.sub(r"[^a-z0-9]+", "-", f"{device} jax {machine['jax']}".lower())


def cpu_model(path: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's name, or its architecture where the system does not say."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def version(package: str) -> str | None:
    """Version of an installed package, or ``None``."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
