"""Writes the report of a run: one HTML file that needs no network.

  ./scripts/report --workdir=DIR [--compare=DIR,DIR ...] [--text="any text"]

DIR is the folder of a run, finished or not. The report has its results beside what needs no model,
learning curves, the learned α and F of its heads, and, on the text: effective attention at every
step, energies, and context wells. Runs to compare with are drawn beside it; the linear baseline of
the run is one of them already.

It is written to DIR/report.html, whole or not at all.

Exit codes: 0 finished, 1 failed, 2 wrong arguments, 75 stopped.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from configs.command_line import UsageError, load_run_config, take_options  # noqa: E402
from scripts.exit_codes import failing_once_begun, run_command, stop_by_signals  # noqa: E402


def main(argv: list[str]) -> int:
    return run_command(_report, argv, help_text=__doc__)


def _report(argv: list[str]) -> int:
    options, _, rest = take_options(argv, names=("workdir", "compare", "text"))
    config, workdir = load_run_config(options.get("workdir"))
    # --compare=runs/* is several arguments once the shell has expanded it.
    unknown = [argument for argument in rest[1:] if argument.startswith("-")]
    if unknown or (len(rest) > 1 and "compare" not in options):
        wrong = (unknown or rest[1:])[0]
        raise UsageError(f"unexpected argument {wrong!r}; options look like --compare=DIR,DIR")
    named = [*options.get("compare", "").split(","), *rest[1:]]
    compare = [load_run_config(name)[1] for name in named if name]
    if options.get("text") and config.task == "synthetic":
        raise UsageError(
            "--text is for language; a generated task is shown on an example of its own"
        )

    from hopfield_attn.train.report_run import write_report

    with failing_once_begun():
        path = write_report(config, workdir, compare=compare, text=options.get("text", ""))
    print(f"Report: {path}")
    return 0


if __name__ == "__main__":
    stop_by_signals()
    sys.exit(main(sys.argv))
