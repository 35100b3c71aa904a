"""SuperGLUE, SQuAD, QuALITY and SCROLLS from the hub are what they are from their files."""

import json
import sys
from types import SimpleNamespace

import pytest

from hopfield_attn.data.quality import read_quality
from hopfield_attn.data.quality_hub import read_quality_hub
from hopfield_attn.data.scrolls import read_scrolls_pairs
from hopfield_attn.data.scrolls_hub import read_scrolls_pairs_hub
from hopfield_attn.data.squad import read_squad
from hopfield_attn.data.squad_hub import read_squad_hub
from hopfield_attn.data.superglue import read_superglue
from hopfield_attn.data.superglue_hub import read_superglue_hub
from hopfield_attn.data.superglue_tasks import SUPERGLUE_TASKS

COMMIT = "0123456789abcdef" * 2 + "01234567"
TEXT = "Ann met Bob in Rome. He was late."


# Task → what its hub row and the line of its file share.
FLAT = {
    "boolq": {"question": "was he late", "passage": TEXT},
    "cb": {"premise": TEXT, "hypothesis": "Bob was late."},
    "copa": {"premise": "It rained.", "choice1": "Wet.", "choice2": "Dry.", "question": "effect"},
    "rte": {"premise": TEXT, "hypothesis": "Ann met Bob."},
    "wic": {
        "word": "late",
        "sentence1": "He was late.",
        "sentence2": "A late train.",
        "start1": 7,
        "end1": 11,
        "start2": 2,
        "end2": 6,
    },
}
TARGET = {"span1_index": 2, "span1_text": "Bob", "span2_index": 5, "span2_text": "He"}
MULTIRC = [("Who was late?", "Bob", 1), ("Who was late?", "Ann", 0), ("Where?", "Rome", 1)]


def rows_and_lines(task):
    """The rows of the hub, and the lines of the file."""
    spec = SUPERGLUE_TASKS[task]
    if task in FLAT:
        row = FLAT[task]
        return [{**row, "label": 1, "idx": 0}], [{**row, "label": spec.file_labels[1]}]
    if task == "wsc":
        line = {"text": TEXT, "target": TARGET, "label": spec.file_labels[1]}
        return [{"text": TEXT, **TARGET, "label": 1}], [line]
    if task == "record":
        spans = [(0, 3), (8, 11)]
        names = [TEXT[start:end] for start, end in spans]
        query = "@placeholder was late."
        row = {
            "passage": TEXT,
            "query": query,
            "entities": names,
            "entity_spans": {
                "text": names,
                "start": [start for start, _ in spans],
                "end": [end for _, end in spans],
            },
            "answers": ["Bob"],
        }
        entities = [{"start": start, "end": end - 1} for start, end in spans]
        asked = {"query": query, "answers": [{"text": "Bob"}]}
        return [row], [{"passage": {"text": TEXT, "entities": entities}, "qas": [asked]}]
    rows = [
        {
            "paragraph": TEXT,
            "question": question,
            "answer": answer,
            "label": label,
            "idx": {"paragraph": 0, "question": int(question == "Where?"), "answer": k},
        }
        for k, (question, answer, label) in enumerate(MULTIRC)
    ]
    asked = [
        {
            "question": question,
            "answers": [{"text": a, "label": label} for q, a, label in MULTIRC if q == question],
        }
        for question in dict.fromkeys(q for q, _, _ in MULTIRC)
    ]
    return rows, [{"passage": {"text": TEXT, "questions": asked}}]


@pytest.fixture
def hub(monkeypatch):
    """Puts rows where the library would find them; tests do not reach the hub."""
    asked = []

    def serve(rows):
        def load_dataset(*place, **options):
            asked.append((place, options))
            return rows

        monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
        return asked

    return serve


@pytest.mark.parametrize("task", SUPERGLUE_TASKS)
def test_superglue_rows_are_those_of_the_files(task, hub, tmp_path):
    rows, lines = rows_and_lines(task)
    folder = tmp_path / SUPERGLUE_TASKS[task].folder
    folder.mkdir()
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for split in ("val", "test"):
        (folder / f"{split}.jsonl").write_text(text)
        asked = hub(rows)
        found = read_superglue_hub("aps/super_glue", task, split, revision=COMMIT)
        assert found == read_superglue(tmp_path, task, split)
    options = [options for _, options in asked]
    assert options[-1] == {"split": "test", "revision": COMMIT}
    assert asked[0] == (("aps/super_glue", task), {"split": "validation", "revision": COMMIT})


@pytest.mark.parametrize("version", ["squad", "squad_v2"])
def test_squad_rows_are_those_of_the_files(version, hub, tmp_path):
    asked = {"id": "a", "question": "Who was late?"}
    rows = [{**asked, "context": TEXT, "answers": {"text": ["Bob"], "answer_start": [8]}}]
    entries = [{**asked, "answers": [{"text": "Bob", "answer_start": 8}]}]
    if version == "squad_v2":
        opened = {"id": "b", "question": "Why?"}
        rows.append({**opened, "context": TEXT, "answers": {"text": [], "answer_start": []}})
        entries.append({**opened, "answers": [], "is_impossible": True})
    hub(rows)
    name = {"squad": "dev-v1.1.json", "squad_v2": "dev-v2.0.json"}[version]
    articles = [{"paragraphs": [{"context": TEXT, "qas": entries}]}]
    (tmp_path / name).write_text(json.dumps({"data": articles}))
    found = read_squad_hub(f"rajpurkar/{version}", version, "dev", revision=COMMIT)
    assert found == read_squad(tmp_path, version, "dev")


@pytest.mark.parametrize("split", ["dev", "test"])
def test_quality_rows_are_the_questions_of_the_files(split, hub, tmp_path):
    labels = {} if split == "test" else {"gold_label": 2}
    entries = [
        {"question": question, "options": list("abcd"), "difficult": hard, **labels}
        for question, hard in (("Who was late?", 1), ("Where?", 0))
    ]
    asked = hub([{"article": TEXT, "article_id": 7, **entry} for entry in entries])
    line = json.dumps({"article": TEXT, "questions": entries})
    (tmp_path / f"QuALITY.v1.0.1.{split}").write_text(line)
    found = read_quality_hub("tasksource/QuALITY", split, revision=COMMIT)
    assert found == read_quality(tmp_path, split)
    assert len(found[0]) == 2
    options = {"split": split.replace("dev", "validation"), "revision": COMMIT}
    assert asked == [(("tasksource/QuALITY", None), options)]
    hub([entries[0]])
    with pytest.raises(ValueError, match="row 0 column article: missing"):
        read_quality_hub("tasksource/QuALITY", split, revision=COMMIT)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_scrolls_rows_are_the_lines_of_the_files(split, hub, tmp_path):
    row = {"id": "1", "pid": "1_0", "input": f"Bob was late.\n\n{TEXT}", "output": "Entailment"}
    asked = hub([row])
    (tmp_path / "contract_nli").mkdir()
    (tmp_path / "contract_nli" / f"{split}.jsonl").write_text(json.dumps(row))
    found = read_scrolls_pairs_hub("tau/scrolls", "contract_nli", split, revision=COMMIT)
    assert found == read_scrolls_pairs(tmp_path, "contract_nli", split)
    assert asked == [(("tau/scrolls", "contract_nli"), {"split": split, "revision": COMMIT})]
    hub([{**row, "output": "Perhaps"}])
    if split == "validation":
        with pytest.raises(ValueError, match="row 0 column output"):
            read_scrolls_pairs_hub("tau/scrolls", "contract_nli", split, revision=COMMIT)


def test_bad_rows_are_named_or_counted(hub):
    good = {**FLAT["rte"], "label": 0}
    hub([good, {**good, "label": 2}, {"label": 0}])
    read = {"revision": COMMIT, "max_bad_rows": 2}
    found, skipped = read_superglue_hub("mine", "rte", "train", **read)
    assert len(found) == 1
    assert skipped[0] == "hub:mine rte train row 1 column label: must be below 2, got 2"
    assert "hub:mine rte train row 2 column premise: missing" in skipped[1]
    with pytest.raises(ValueError, match="row 2 column premise"):
        read_superglue_hub("mine", "rte", "train", **read | {"max_bad_rows": 1})
    hub(
        [{"id": "a", "question": "?", "context": TEXT, "answers": {"text": [], "answer_start": []}}]
    )
    with pytest.raises(ValueError, match="row 0 column answers: expected at least one answer"):
        read_squad_hub("mine", "squad", "train", revision=COMMIT)


def test_revision_must_be_a_commit(hub):
    hub([])
    with pytest.raises(ValueError, match="data.revision must be the commit of mine.* got 'main'"):
        read_superglue_hub("mine", "rte", "train", revision="main")


@pytest.mark.parametrize(
    ("task", "changes", "reason"),
    [
        ("multirc", {"idx": None}, "column idx"),
        ("multirc", {"idx": {"paragraph": 0}}, "column idx.question: missing"),
        ("multirc", {"idx": {"paragraph": "0", "question": 1}}, "column idx.paragraph"),
        ("record", {"entity_spans": {"start": [0], "end": [None]}}, "expected a number in end"),
        ("record", {"entity_spans": {"start": [0, 1], "end": [3]}}, "expected a number in end"),
    ],
)
def test_bad_rows_with_parts_are_counted_too(task, changes, reason, hub):
    rows, _ = rows_and_lines(task)
    hub([{**rows[0], **changes}, *rows])
    found, skipped = read_superglue_hub("mine", task, "val", revision=COMMIT, max_bad_rows=1)
    assert len(skipped) == 1
    assert "row 0 column " in skipped[0] and reason in skipped[0]
    hub(rows)
    assert found == read_superglue_hub("mine", task, "val", revision=COMMIT)[0]
