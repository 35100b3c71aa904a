"""Growth of the peak resident memory of a program, in a process of its own.

``python -m hopfield_attn.benchmark.resident`` reads a cell and its settings as JSON from standard
input and prints bytes. Only Linux can set the peak back; elsewhere it prints ``null``.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hopfield_attn.benchmark.candidates import make_program
from hopfield_attn.benchmark.cells import Cell

_PROCESS = Path("/proc/self")


def resident_bytes(cell: Cell, settings: dict[str, Any]) -> int | None:
    """Runs the cell once in a fresh process; what its peak memory grew by.

    Args:
      cell: the cell.
      settings: keyword arguments of :func:`hopfield_attn.benchmark.candidates.make_program`.

    Raises:
      RuntimeError: if the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "hopfield_attn.benchmark.resident"],
        input=json.dumps([cell._asdict(), settings]),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"resident memory, exit {done.returncode}: {last}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return None if found is None else int(found)


def _peak() -> int:
    for line in (_PROCESS / "status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise OSError("no VmHWM in the status of this process")


def _main() -> None:
    cell, settings = json.loads(sys.stdin.read())
    try:
        program = make_program(Cell(**cell), **settings)
    except Exception as error:  # its text is for the caller, in one line
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
    try:
        # Compiling takes memory of its own: the peak starts again at what is held now.
        (_PROCESS / "clear_refs").write_text("5", encoding="utf-8")
        before = _peak()
        program.run()
        print(_peak() - before)
    except OSError:
        print("null")


if __name__ == "__main__":
    _main()
