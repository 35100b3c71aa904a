"""Tiny trained runs, made once: single sentences, scored pairs, masked text, and recall."""

import random
from typing import Any, NamedTuple

import pytest

STEMS = ("walk", "sing", "read", "glow", "turn", "play", "rest", "light", "wind", "paint")
WORDS = [stem + end for stem in STEMS for end in ("", "s", "ing", "ed")]


class Run(NamedTuple):
    """A finished run: its config, its folder, and what ``result.json`` holds."""

    config: Any
    folder: Any
    result: Any


def sentence(rng):
    return " ".join(rng.choices(WORDS, k=rng.randint(2, 6)))


@pytest.fixture(scope="session")
def glue_folder(tmp_path_factory):
    """SST-2 and STS-B of 40 training, 20 development and 7 test rows."""
    folder = tmp_path_factory.mktemp("glue")
    rng = random.Random(0)
    for name in ("SST-2", "STS-B"):
        (folder / name).mkdir()
        for split, num_rows in (("train", 40), ("dev", 20), ("test", 7)):
            texts = ["sentence"] if name == "SST-2" else ["sentence1", "sentence2"]
            label = {"SST-2": "label", "STS-B": "score"}[name]
            lines = ["\t".join(["index", *texts, *[label] * (split != "test")])]
            for i in range(num_rows):
                value = str(i % 2) if name == "SST-2" else f"{rng.uniform(0, 5):.3f}"
                fields = [str(i), *(sentence(rng) for _ in texts), *[value] * (split != "test")]
                lines.append("\t".join(fields))
            (folder / name / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def train_run(make_config, train, tmp_path_factory):
    """(changes of the config) → a finished run."""

    def train_run(changes):
        small = {"data.vocab_size": 270, "data.length": 24, "train.num_steps": 3}
        # Most of the time is compiling; the heads are tested elsewhere.
        small |= {"model.heads": "identity", "model.dropout_rate": 0.0}
        small |= {"model.attention_dropout_rate": 0.0}
        config = make_config(small | {"optimizer.learning_rate": 0.02} | changes)
        folder = tmp_path_factory.mktemp("run")
        return Run(config, folder, train(config, folder).result)

    return train_run


@pytest.fixture(scope="session")
def sst2(train_run, glue_folder):
    return train_run({"task": "glue", "data.task": "sst2", "data.dir": str(glue_folder)})


@pytest.fixture(scope="session")
def stsb(train_run, glue_folder):
    return train_run({"task": "glue", "data.task": "stsb", "data.dir": str(glue_folder)})


@pytest.fixture(scope="session")
def mlm(train_run, tmp_path_factory):
    rng = random.Random(1)
    text = tmp_path_factory.mktemp("text") / "words.txt"
    paragraphs = [". ".join(sentence(rng) for _ in range(60)) for _ in range(60)]
    text.write_text("\n\n".join(paragraphs))
    fractions = {"data.validation_fraction": 0.1, "data.test_fraction": 0.1}
    return train_run({"task": "mlm", "data.source": str(text), **fractions})


@pytest.fixture(scope="session")
def recall(train_run):
    return train_run({"task": "synthetic"})
