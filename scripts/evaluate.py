"""Evaluates a trained run once more: its newest checkpoint, finished or not.

  ./scripts/evaluate --workdir=DIR [--set=NAME,NAME] [--config.a.b=value ...]

DIR is the folder of a run (or the baseline/ in one). All evaluation sets of the task are scored,
or those of --set. A key of the config that does not change the parameters can be set anew: where
the data is now (--config.data.dir=...), or another number of steps T (--config.model.num_steps=8).

The metrics are printed and written to DIR/evaluation.json, with the step of the checkpoint and the
keys that were changed. For the checkpoint of the last step they are those of DIR/result.json.

Exit codes: 0 finished, 1 failed, 2 wrong arguments, 75 stopped.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from configs.command_line import (  # noqa: E402
    UsageError,
    change_config,
    load_run_config,
    take_options,
)
from scripts.exit_codes import failing_once_begun, run_command, stop_by_signals  # noqa: E402


def main(argv: list[str]) -> int:
    return run_command(_evaluate, argv, help_text=__doc__)


def _evaluate(argv: list[str]) -> int:
    options, _, argv = take_options(argv, names=("workdir", "set"))
    config, workdir = load_run_config(options.get("workdir"))
    rest = change_config(config, argv)
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}; options look like --set=validation")
    sets = [name.strip() for name in options.get("set", "").split(",") if name.strip()]

    from hopfield_attn.train.evaluate_run import evaluate_run
    from hopfield_attn.train.step_loop import format_scores

    with failing_once_begun():
        found = evaluate_run(config, workdir, sets=sets)
    for name, scores in found["evaluations"].items():
        print(f"{name}: {format_scores(scores)}")
    print(f"Step {found['step']}. Written to {workdir}/evaluation.json")
    return 0


if __name__ == "__main__":
    stop_by_signals()
    sys.exit(main(sys.argv))
