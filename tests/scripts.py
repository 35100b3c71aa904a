"""Scripts, configs and experiments as modules: files that no package has."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load_script(path: Path | str) -> ModuleType:
    """The file as a module, without running its main; what it adds to ``sys.path`` is taken back.

    Args:
      path: absolute, or below the root of the repository.
    """
    before = list(sys.path)
    path = ROOT / path
    name = f"{path.parent.name}_{path.stem}".replace("-", "_")
    spec = importlib.util.spec_from_file_location(f"script_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
    return module
