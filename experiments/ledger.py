"""Writes the ledger of experiments/README.md from the results of every experiment.

python experiments/ledger.py            # writes
python experiments/ledger.py --check    # exit 1 if the ledger is stale
"""

import importlib.util
import sys
from pathlib import Path

from experiments.page import update_page

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"


def ledger() -> str:
    """One row an experiment, in the order of their numbers."""
    rows = [row(path.parent) for path in sorted(HERE.glob("*/collect.py"))]
    return "\n".join(["| experiment | result files | found |", "| --- | --- | --- |", *rows])


def row(folder: Path) -> str:
    """Title, number of result files, and what the experiment's own script says of them."""
    page = folder / "README.md"
    title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    num_results = len(list((folder / "results").glob("*.json")))
    found = found_by(folder) if num_results else "not run yet"
    return f"| [{title}]({folder.name}/README.md) | {num_results} | {found} |"


def found_by(folder: Path) -> str:
    """Calls ``ledger_row`` of the folder's collect.py."""
    spec = importlib.util.spec_from_file_location(f"collect_{folder.name}", folder / "collect.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: str = module.ledger_row()
    return found


def main(arguments: list[str]) -> int:
    return update_page(README, {"ledger": ledger()}, check="--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
