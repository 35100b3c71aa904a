import sys
from types import SimpleNamespace

import pytest

from hopfield_attn.data.glue_hub import HUB_COLUMNS, read_glue_hub
from hopfield_attn.data.glue_tasks import GLUE_TASKS, Example

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def hub(monkeypatch):
    """Stands in for the hub, which tests do not reach; returns what was asked of it."""
    asked = []

    def load_dataset(repository, task, *, split, revision):
        asked.append((repository, task, split, revision))
        first, second = HUB_COLUMNS[task]
        row = {first: "one ", "label": -1 if "test" in split else 1, "idx": 0}
        return [row | ({second: " two"} if second else {})]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return asked


@pytest.mark.parametrize("task", GLUE_TASKS)
def test_every_task_and_split_is_read_with_its_columns(hub, task):
    for split in GLUE_TASKS[task].splits:
        (example,) = read_glue_hub("nyu-mll/glue", task, split, revision=COMMIT)
        second = "two" if GLUE_TASKS[task].sentence2 else None
        assert example == Example("one", second, None if split.startswith("test") else 1)
        assert hub[-1] == ("nyu-mll/glue", task, split.replace("dev", "validation"), COMMIT)


@pytest.mark.parametrize(
    ("task", "row", "reason"),
    [
        ("sst2", {"sentence": "b", "label": 2}, "label must be below 2, got 2"),
        ("sst2", {"text": "b", "label": 0}, r"column sentence: missing; the row has \['text', "),
        ("sst2", {"sentence": None, "label": 0}, "column sentence: expected text, got null"),
        (
            "stsb",
            {"sentence1": "a", "sentence2": "b", "label": float("nan")},
            "column label: expected a finite number, got nan",
        ),
    ],
)
def test_a_row_that_is_no_example_is_refused(task, row, reason, hub, monkeypatch):
    good = {"sentence": "a", "sentence1": "a", "sentence2": "b", "label": 0}
    monkeypatch.setattr(sys.modules["datasets"], "load_dataset", lambda *a, **k: [good, row])
    with pytest.raises(ValueError, match=f"{task} row 1: {reason}"):
        read_glue_hub("nyu-mll/glue", task, "train", revision=COMMIT)


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match="HOPFIELD_EXTRAS=hf"):
        read_glue_hub("nyu-mll/glue", "sst2", "dev", revision=COMMIT)


@pytest.mark.parametrize("revision", ["", "main", "v1.0", "0123456", COMMIT.upper(), COMMIT + "0"])
def test_what_is_no_commit_is_refused_before_anything_is_read(hub, revision):
    with pytest.raises(ValueError, match=r"data.revision must be the commit of nyu-mll/glue"):
        read_glue_hub("nyu-mll/glue", "sst2", "dev", revision=revision)
    assert hub == []
