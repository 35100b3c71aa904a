"""The files of predictions that the GLUE leaderboard takes: one a test split."""

import numpy as np
from jaxtyping import Float

from hopfield_attn.data.glue_tasks import GlueTask

SUBMISSION_FILES = {
    "cola": {"test": "CoLA.tsv"},
    "sst2": {"test": "SST-2.tsv"},
    "mrpc": {"test": "MRPC.tsv"},
    "stsb": {"test": "STS-B.tsv"},
    "qqp": {"test": "QQP.tsv"},
    "mnli": {"test_matched": "MNLI-m.tsv", "test_mismatched": "MNLI-mm.tsv"},
    "qnli": {"test": "QNLI.tsv"},
    "rte": {"test": "RTE.tsv"},
    "wnli": {"test": "WNLI.tsv"},
}
"""Task → test split → name of the file."""

DIAGNOSTIC_SOURCE, DIAGNOSTIC_FILE = "diagnostic/diagnostic.tsv", "AX.tsv"
"""Below the folder of GLUE, and in a submission: the diagnostic set, for a model of MNLI."""

SUBMISSION_COLUMNS = ("index", "prediction")


def submission_rows(
    task: GlueTask, outputs: Float[np.ndarray, "n labels"]
) -> list[tuple[str, str]]:
    """The rows of a submission: index from 0, and the prediction as the leaderboard spells it.

    Args:
      task: says what the labels are called: ``entailment`` and the like, or 0 and 1.
      outputs: (n, num_labels) probabilities of the classes, or the score in one column; in the
        order of the test split.

    Returns:
      Index and prediction of each example. A score is brought into [0, ``max_score``] and has three
      decimals.

    Raises:
      ValueError: the number of columns is not that of the task.

    Example:
      >>> from hopfield_attn.data.glue_tasks import find_task
      >>> submission_rows(find_task("rte"), np.array([[0.9, 0.1], [0.2, 0.8]]))
      [('0', 'entailment'), ('1', 'not_entailment')]
      >>> submission_rows(find_task("wnli"), np.array([[0.2, 0.8]]))
      [('0', '1')]
      >>> submission_rows(find_task("stsb"), np.array([[5.2], [3.14159]]))
      [('0', '5.000'), ('1', '3.142')]
    """
    if outputs.shape[1] != task.num_labels:
        raise ValueError(f"outputs must have {task.num_labels} columns; got {outputs.shape[1]}")
    if task.label_names is None:
        predictions = [f"{score:.3f}" for score in np.clip(outputs[:, 0], 0.0, task.max_score)]
    else:
        predictions = [task.file_labels[index] for index in np.argmax(outputs, axis=1)]
    return [(str(index), prediction) for index, prediction in enumerate(predictions)]
