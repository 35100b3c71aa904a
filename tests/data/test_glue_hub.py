import sys
from types import SimpleNamespace

import pytest

from hopfield_attn.data.glue_hub import HUB_COLUMNS, read_glue_hub
from hopfield_attn.data.glue_tasks import GLUE_TASKS, Example


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
        (example,) = read_glue_hub("nyu-mll/glue", task, split, revision="abc")
        second = "two" if GLUE_TASKS[task].sentence2 else None
        assert example == Example("one", second, None if split.startswith("test") else 1)
        assert hub[-1] == ("nyu-mll/glue", task, split.replace("dev", "validation"), "abc")


def test_a_label_out_of_range_is_refused(hub, monkeypatch):
    rows = [{"sentence": "a", "label": 0}, {"sentence": "b", "label": 2}]
    monkeypatch.setattr(sys.modules["datasets"], "load_dataset", lambda *a, **k: rows)
    with pytest.raises(ValueError, match="sst2 row 1: label must be below 2, got 2"):
        read_glue_hub("nyu-mll/glue", "sst2", "train")


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match="HOPFIELD_EXTRAS=hf"):
        read_glue_hub("nyu-mll/glue", "sst2", "dev")
