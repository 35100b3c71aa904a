"""Predictions from file to file: tables of text, and the submission to the GLUE leaderboard."""

from collections.abc import Sequence
from pathlib import Path

from hopfield_attn.data.glue_submission import (
    DIAGNOSTIC_FILE,
    DIAGNOSTIC_SOURCE,
    SUBMISSION_COLUMNS,
    SUBMISSION_FILES,
    submission_rows,
)
from hopfield_attn.data.glue_tasks import Example, GlueTask
from hopfield_attn.data.tsv import read_table, write_table
from hopfield_attn.train.predict import glue_task_of, make_example, predict_examples
from hopfield_attn.train.tasks.classification import read_split
from hopfield_attn.train.trained import TrainedRun
from hopfield_attn.train.work import WORK_BEGUN

TEXT_COLUMNS = ("text", "text2")


def predict_table(run: TrainedRun, source: Path, target: Path) -> int:
    """Predicts every row of a table, and writes the table with the predictions beside it.

    Args:
      run: a trained run of a GLUE task.
      source: a TSV with a header; the sentences are in the columns ``text`` and ``text2``, or in
        those of the task's own files.
      target: gets the columns and rows of ``source``, then ``prediction``, the label or the score,
        and ``probability_LABEL`` for each label.

    Returns:
      The number of rows.

    Raises:
      ValueError: a column is missing or in the way, there is no row, or the table is broken.
      FileNotFoundError: ``source`` or the folder of ``target`` does not exist.
      FileExistsError: ``target`` is a folder.
    """
    task = glue_task_of(run)
    names = task.label_names or ()
    added = ["prediction", *(f"probability_{name}" for name in names)]
    columns, rows = read_table(source)
    for name in added:
        if name in columns:
            raise ValueError(f"{source}: the column {name!r} is there already")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"expected the folder {target.parent} for {target.name}")
    if target.is_dir():
        raise FileExistsError(f"expected a file for the predictions; {target} is a folder")
    examples = _examples_of(task, columns, rows, source)
    WORK_BEGUN.set()
    filled = []
    for row, outputs in zip(rows, predict_examples(run, examples), strict=True):
        prediction = names[outputs.argmax()] if names else f"{outputs[0]:.3f}"
        filled.append([*row, prediction, *(f"{p:.6f}" for p in outputs[: len(names)])])
    write_table(target, [*columns, *added], filled)
    return len(rows)


def write_submission(run: TrainedRun, folder: Path) -> dict[Path, int]:
    """Writes what the GLUE leaderboard takes for the task of a run.

    Args:
      run: a trained run of a GLUE task; ``config.data.dir`` has the task's test split, and beside
        MNLI's, in a local folder, there may be :data:`DIAGNOSTIC_SOURCE`.
      folder: for the files; created with its parents.

    Returns:
      The number of rows of each file: two for MNLI, three with the diagnostic set, one for the
      others.

    Raises:
      ValueError: the run is of another task, or a row of a test split is bad: the leaderboard
        counts rows, so none is left out.
      FileNotFoundError: a test split is not there.
    """
    task, data = glue_task_of(run), run.config.copy_and_resolve_references().data
    data.max_bad_rows = 0
    splits = SUBMISSION_FILES[data.task]
    examples = {name: read_split(data, split)[0] for split, name in splits.items()}
    diagnostic = Path(data.dir).expanduser() / DIAGNOSTIC_SOURCE
    if data.task == "mnli" and diagnostic.is_file():
        examples[DIAGNOSTIC_FILE] = _examples_of(task, *read_table(diagnostic), diagnostic)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in examples.items():
        predictions = submission_rows(task, predict_examples(run, rows))
        write_table(folder / name, SUBMISSION_COLUMNS, predictions)
    return {folder / name: len(rows) for name, rows in examples.items()}


def _examples_of(
    task: GlueTask, columns: Sequence[str], rows: Sequence[Sequence[str]], source: Path
) -> list[Example]:
    places = []
    for name, own_name in zip(TEXT_COLUMNS, (task.sentence1, task.sentence2), strict=True):
        if own_name is None:
            continue
        found = next((known for known in (name, own_name) if known in columns), None)
        if found is None:
            raise ValueError(
                f"{source}:1 expected a column {name!r} or {own_name!r}; got {list(columns)}"
            )
        places.append(columns.index(found))
    if not rows:
        raise ValueError(f"{source}: there is no row below the header")
    first, second = places[0], places[1] if len(places) == 2 else None
    return [make_example(task, r[first], None if second is None else r[second]) for r in rows]
