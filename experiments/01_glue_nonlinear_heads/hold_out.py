"""A GLUE task whose dev split is a part of the training split, to choose settings on.

python experiments/01_glue_nonlinear_heads/hold_out.py GLUE_FOLDER NAME NUM_ROWS TARGET

NAME is the task's folder (RTE). TARGET/NAME gets a train.tsv without NUM_ROWS random rows and a
dev.tsv of these rows; the same rows every time. The real dev split is not read.
"""

import random
import sys
from pathlib import Path

from hopfield_attn.files import read_text, write_text


def hold_out(source: Path, num_rows: int, target: Path) -> None:
    """Writes the two files.

    Args:
      source: the folder with train.tsv, its first line the names of the columns.
      num_rows: how many rows become the dev split.
      target: the folder for the files; made if needed.

    Raises:
      ValueError: if there are not more rows than that.
    """
    header, *rows = read_text(source / "train.tsv").rstrip("\n").split("\n")
    if not 0 < num_rows < len(rows):
        raise ValueError(f"expected 1 to {len(rows) - 1} rows to hold out; got {num_rows}")
    order = list(range(len(rows)))
    random.Random(0).shuffle(order)
    held = set(order[:num_rows])
    target.mkdir(parents=True, exist_ok=True)
    for name, is_held in (("train.tsv", False), ("dev.tsv", True)):
        kept = [row for index, row in enumerate(rows) if (index in held) == is_held]
        write_text(target / name, "\n".join([header, *kept]) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    folder, task, count, out = sys.argv[1:]
    hold_out(Path(folder) / task, int(count), Path(out) / task)
