"""Collects the runs of run.sh into results/, and writes the tables and the figure from results/.

python experiments/04_lambda/collect.py RUNS     # adds finished and failed runs, then writes
python experiments/04_lambda/collect.py          # writes only
python experiments/04_lambda/collect.py --check  # exit 1 if the tables are stale
"""

import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.curves import at_equal_time, differences, read_curve
from experiments.page import update_page
from experiments.seeds import holm, over_seeds, p_value
from hopfield_attn.files import write_json

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
RESULTS = HERE / "results"
FIGURE = HERE / "lambda.png"
LINEAR, AUTO = "linear", "auto"
TITLES = {"match3": "Match-3", "retrieval": "pattern retrieval"}
LARGE = 3.0
"""λ from which on the exponents are fitted."""
FIGURES = ("energy_drop", "attention_distance", "unconverged", "abs_alpha")


def collect(folder: Path) -> None:
    """Adds to results/TASK.json what the runs below ``folder`` found, the failed ones by name."""
    for task in TITLES:
        rows = {(row["lam"], row["seed"]): row for row in read_runs(task)}
        for path in folder.glob(f"{task}-*/sweep.json"):
            for run in json.loads(path.read_text(encoding="utf-8"))["runs"]:
                row = read_run(path.parent / run["name"], failure=run.get("failure"))
                if row:
                    rows[row["lam"], row["seed"]] = row
        if rows:
            RESULTS.mkdir(exist_ok=True)
            ordered = sorted(rows.values(), key=lambda row: (order_of(row["lam"]), row["seed"]))
            write_json(RESULTS / f"{task}.json", {"task": task, "runs": ordered})


def order_of(lam: float | str) -> float:
    return {LINEAR: -1.0, AUTO: math.inf}.get(str(lam), lam if isinstance(lam, float) else 0.0)
