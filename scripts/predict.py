"""Predictions of a trained run: its newest checkpoint, finished or not.

  ./scripts/predict --workdir=DIR --text="..." [--text2="..."]
  ./scripts/predict --workdir=DIR --input=FILE.tsv --output=FILE.tsv
  ./scripts/predict --workdir=DIR --glue-submission=FOLDER [--config.data.dir=...]

Of a GLUE run: the probability of each label, or the score. FILE.tsv has a header line with the
column text and, for tasks of pairs, text2 (or the names that the task's own files have); the output
has its columns and rows, and beside them prediction and the probabilities. --glue-submission writes
the leaderboard's file for the test split of the task (two for MNLI) into FOLDER.

Of a masked-language model: --text="The [MASK] sat" prints the five likeliest tokens for each mask.

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

MODES = ("text", "input", "glue-submission")
PARTNERS = {"text2": "text", "output": "input"}
NUM_GUESSES = 5


def main(argv: list[str]) -> int:
    return run_command(_predict, argv, help_text=__doc__)


def _predict(argv: list[str]) -> int:
    options, _, argv = take_options(argv, names=("workdir", *MODES, *PARTNERS))
    check_options(options)
    config, workdir = load_run_config(options.pop("workdir", None))
    rest = change_config(config, argv)
    if rest:
        raise UsageError(f'unexpected argument {rest[0]!r}; text is quoted, as in --text="a b"')
    check_task(config.task, options, workdir)

    from hopfield_attn.train.trained import load_run

    run = load_run(config, workdir)
    if config.task == "mlm":
        print_guesses(run, options["text"])
    elif "text" in options:
        print_prediction(run, options["text"], options.get("text2"))
    else:
        with failing_once_begun():
            written = predict_files(run, options)
        for path, number in written.items():
            print(f"{number} predictions in {path}")
    return 0


def check_options(options: dict[str, str]) -> None:
    given = [name for name in MODES if name in options]
    if len(given) != 1:
        listed = ", ".join(f"--{name}" for name in MODES)
        got = " and ".join(f"--{name}" for name in given) or "none"
        raise UsageError(f"one of {listed} says what to predict; got {got}")
    for name, partner in PARTNERS.items():
        if name in options and partner not in options:
            raise UsageError(f"--{name} goes with --{partner}")
    if "input" in options and "output" not in options:
        raise UsageError("--output=FILE.tsv is missing: the file for the predictions")


def check_task(task: str, options: dict[str, str], workdir: Path) -> None:
    if task == "mlm" and options.keys() != {"text"}:
        raise UsageError(f"{workdir} holds a masked-language model: it takes --text with a [MASK]")
    if task not in ("mlm", "glue"):
        raise UsageError(f"{workdir} holds a run of task {task!r}, which takes no text")


def print_guesses(run, text: str) -> None:
    from hopfield_attn.train.predict import fill_masks

    for number, guesses in enumerate(fill_masks(run, text, num_guesses=NUM_GUESSES), start=1):
        print(f"[MASK] {number}")
        for guess in guesses:
            print(f"  {guess.probability:.4f}  {guess.token!r}")


def print_prediction(run, text: str, text2: str | None) -> None:
    from hopfield_attn.train.predict import glue_task_of, make_example, predict_examples

    task = glue_task_of(run)
    (outputs,) = predict_examples(run, [make_example(task, text, text2)])
    if task.label_names is None:
        print(f"{outputs[0]:.3f} on the scale from 0 to {task.max_score:g}")
        return
    print(task.label_names[outputs.argmax()])
    for name, probability in zip(task.label_names, outputs, strict=True):
        print(f"  {probability:.4f}  {name}")


def predict_files(run, options: dict[str, str]) -> dict[Path, int]:
    from hopfield_attn.train.predict_files import predict_table, write_submission

    if "input" not in options:
        return write_submission(run, Path(options["glue-submission"]).expanduser())
    source, target = (Path(options[name]).expanduser() for name in ("input", "output"))
    return {target: predict_table(run, source, target)}


if __name__ == "__main__":
    stop_by_signals()
    sys.exit(main(sys.argv))
