"""Frozen MiniLM on the four tasks: what fine-tuning has to beat. Writes results/frozen.json.

python experiments/01_glue_nonlinear_heads/frozen.py BERT GLUE_FOLDER

Sentences are embedded by hopfield_attn.models.embed, and a logistic regression (scikit-learn, from
the extra "compare") is fitted on the training split: of u for one sentence, of (u, v, |u − v|, u v)
for two. STS-B is the cosine of u and v, with nothing fitted. Some minutes on one core.
"""

import sys

import numpy as np
from collect import RESULTS, TASKS
from sklearn.linear_model import LogisticRegression

from hopfield_attn.data.glue import read_glue
from hopfield_attn.files import write_json
from hopfield_attn.models.embedding import embed
from hopfield_attn.models.pretrained import Pretrained, load_pretrained
from hopfield_attn.train.metrics import accuracy, matthews_correlation, spearman

METRICS = {
    "matthews_correlation": matthews_correlation,
    "accuracy": accuracy,
    "spearman": spearman,
}
NUM_ROWS = {"sst2": 5000}
"""Training rows, where not all are used: as in run.sh."""


def embed_split(model: Pretrained, examples: list) -> tuple[np.ndarray, np.ndarray | None]:
    """The embeddings of the first and, where there are any, of the second sentences."""
    first = embed(model, [e.sentence1 for e in examples])
    if examples[0].sentence2 is None:
        return first, None
    return first, embed(model, [e.sentence2 for e in examples])


def features(first: np.ndarray, second: np.ndarray | None) -> np.ndarray:
    """(rows, features) for the regression."""
    if second is None:
        return first
    return np.concatenate([first, second, np.abs(first - second), first * second], axis=1)


def frozen_figure(model: Pretrained, folder: str, task: str) -> float:
    """The dev figure of a task."""
    dev, _ = read_glue(folder, task, "dev")
    labels = np.array([example.label for example in dev])
    score = METRICS[TASKS[task].metric]
    first, second = embed_split(model, dev)
    if task == "stsb":
        return score(np.sum(first * second, axis=1), labels)
    train = read_glue(folder, task, "train")[0][: NUM_ROWS.get(task)]
    regression = LogisticRegression(max_iter=1000)
    regression.fit(features(*embed_split(model, train)), [example.label for example in train])
    return score(regression.predict(features(first, second)), labels)


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    model = load_pretrained(sys.argv[1])
    figures = {}
    for task in TASKS:
        figures[task] = round(float(frozen_figure(model, sys.argv[2], task)), 4)
        print(f"{task}: {figures[task]}", flush=True)
    write_json(RESULTS / "frozen.json", figures)


if __name__ == "__main__":
    main()
