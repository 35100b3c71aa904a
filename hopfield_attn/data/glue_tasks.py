"""The GLUE tasks (Wang et al. 2019): files, columns, labels and metrics of each."""

from dataclasses import dataclass
from typing import NamedTuple

from hopfield_attn.checks import check_choice

_TWO_WAY = ("entailment", "not_entailment")
_THREE_WAY = ("entailment", "neutral", "contradiction")
_DIGITS = ("0", "1")
_SPLITS = ("train", "dev", "test")
_MNLI_SPLITS = ("train", "dev_matched", "dev_mismatched", "test_matched", "test_mismatched")


class Example(NamedTuple):
    """One row of a task: a sentence or a pair, with a class, a score, or (test) no label."""

    sentence1: str
    sentence2: str | None
    label: int | float | None


@dataclass(frozen=True, kw_only=True)
class GlueTask:
    """Where the columns of a task are and what its labels mean.

    Attributes:
      folder: name of the folder with the TSV files.
      sentence1: column of the (first) sentence.
      sentence2: column of the second sentence, or None.
      label: column of the label.
      label_names: class names by class id, in the order of the Hugging Face data sets; None for
        a score in [0, ``max_score``].
      file_labels: how the file spells the classes, by class id.
      dropped_label: rows with this label have no gold answer and are left out.
      max_score: the largest score.
      metrics: names of the metrics that GLUE reports.
      splits: the file names, without ``.tsv``.
      columns: the columns of training and development files without a header line.
    """

    folder: str
    sentence1: str
    sentence2: str | None
    label: str
    label_names: tuple[str, ...] | None
    file_labels: tuple[str, ...] = ()
    dropped_label: str | None = None
    max_score: float = 5.0
    metrics: tuple[str, ...] = ("accuracy",)
    splits: tuple[str, ...] = _SPLITS
    columns: tuple[str, ...] | None = None

    @property
    def num_labels(self) -> int:
        """Outputs that a model needs: the classes, or 1 for a score."""
        return 1 if self.label_names is None else len(self.label_names)


GLUE_TASKS: dict[str, GlueTask] = {
    "cola": GlueTask(
        folder="CoLA",
        sentence1="sentence",
        sentence2=None,
        label="label",
        label_names=("unacceptable", "acceptable"),
        file_labels=_DIGITS,
        metrics=("matthews_correlation",),
        columns=("source", "label", "mark", "sentence"),
    ),
    "sst2": GlueTask(
        folder="SST-2",
        sentence1="sentence",
        sentence2=None,
        label="label",
        label_names=("negative", "positive"),
        file_labels=_DIGITS,
    ),
    "mrpc": GlueTask(
        folder="MRPC",
        sentence1="#1 String",
        sentence2="#2 String",
        label="Quality",
        label_names=("not_equivalent", "equivalent"),
        file_labels=_DIGITS,
        metrics=("accuracy", "f1"),
    ),
    "stsb": GlueTask(
        folder="STS-B",
        sentence1="sentence1",
        sentence2="sentence2",
        label="score",
        label_names=None,
        metrics=("pearson", "spearman"),
    ),
    "qqp": GlueTask(
        folder="QQP",
        sentence1="question1",
        sentence2="question2",
        label="is_duplicate",
        label_names=("not_duplicate", "duplicate"),
        file_labels=_DIGITS,
        metrics=("accuracy", "f1"),
    ),
    "mnli": GlueTask(
        folder="MNLI",
        sentence1="sentence1",
        sentence2="sentence2",
        label="gold_label",
        label_names=_THREE_WAY,
        file_labels=_THREE_WAY,
        dropped_label="-",
        splits=_MNLI_SPLITS,
    ),
    "qnli": GlueTask(
        folder="QNLI",
        sentence1="question",
        sentence2="sentence",
        label="label",
        label_names=_TWO_WAY,
        file_labels=_TWO_WAY,
    ),
    "rte": GlueTask(
        folder="RTE",
        sentence1="sentence1",
        sentence2="sentence2",
        label="label",
        label_names=_TWO_WAY,
        file_labels=_TWO_WAY,
    ),
    "wnli": GlueTask(
        folder="WNLI",
        sentence1="sentence1",
        sentence2="sentence2",
        label="label",
        label_names=("not_entailment", "entailment"),
        file_labels=_DIGITS,
    ),
}


def find_task(name: str) -> GlueTask:
    """Looks a task up.

    Args:
      name: a key of ``GLUE_TASKS``.

    Returns:
      The task.

    Raises:
      ValueError: there is no such task.

    Example:
      >>> find_task("sst2").label_names
      ('negative', 'positive')
    """
    check_choice("GLUE task", name, GLUE_TASKS)
    return GLUE_TASKS[name]
