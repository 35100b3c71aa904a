"""The SuperGLUE tasks (Wang et al. 2019): folders, columns, labels and metrics of each."""

from dataclasses import dataclass
from typing import Any

SPLITS = ("train", "val", "test")

_BOOLEANS = (False, True)
_FALSE_TRUE = ("False", "True")


@dataclass(frozen=True, kw_only=True)
class SuperGlueTask:
    """What a task's rows are made of and what its labels mean.

    Attributes:
      folder: name of the folder with the JSON-lines files.
      kind: "pair": classes of two texts; "choice": one of several choices is right; "spans":
        classes of two marked words; "candidates": each candidate of a question is right or not.
      label_names: class names by class id, in the order of the Hugging Face data sets.
      file_labels: how the file spells the classes, by class id: text, numbers or booleans.
      columns: the two text columns of a pair.
      metrics: names of the metrics that SuperGLUE reports, the one to watch first.
    """

    folder: str
    kind: str
    label_names: tuple[str, ...]
    file_labels: tuple[Any, ...]
    columns: tuple[str, str] | None = None
    metrics: tuple[str, ...] = ("accuracy",)


SUPERGLUE_TASKS: dict[str, SuperGlueTask] = {
    "boolq": SuperGlueTask(
        folder="BoolQ",
        kind="pair",
        label_names=_FALSE_TRUE,
        file_labels=_BOOLEANS,
        columns=("question", "passage"),
    ),
    "cb": SuperGlueTask(
        folder="CB",
        kind="pair",
        label_names=("entailment", "contradiction", "neutral"),
        file_labels=("entailment", "contradiction", "neutral"),
        columns=("premise", "hypothesis"),
        metrics=("accuracy", "macro_f1"),
    ),
    "copa": SuperGlueTask(
        folder="COPA",
        kind="choice",
        label_names=("choice1", "choice2"),
        file_labels=(0, 1),
    ),
    "multirc": SuperGlueTask(
        folder="MultiRC",
        kind="candidates",
        label_names=_FALSE_TRUE,
        file_labels=(0, 1),
        metrics=("f1a", "exact_match"),
    ),
    "record": SuperGlueTask(
        folder="ReCoRD",
        kind="candidates",
        label_names=_FALSE_TRUE,
        file_labels=(),  # an entity is right when it is among the answers
        metrics=("f1", "exact_match"),
    ),
    "rte": SuperGlueTask(
        folder="RTE",
        kind="pair",
        label_names=("entailment", "not_entailment"),
        file_labels=("entailment", "not_entailment"),
        columns=("premise", "hypothesis"),
    ),
    "wic": SuperGlueTask(
        folder="WiC",
        kind="spans",
        label_names=_FALSE_TRUE,
        file_labels=_BOOLEANS,
    ),
    "wsc": SuperGlueTask(
        folder="WSC",
        kind="spans",
        label_names=_FALSE_TRUE,
        file_labels=_BOOLEANS,
    ),
}
