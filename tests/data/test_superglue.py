import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.examples import CandidateQuestion, ChoiceQuestion, SpanPair
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.superglue import read_superglue
from hopfield_attn.data.superglue_rows import PARSERS
from hopfield_attn.data.superglue_tasks import SUPERGLUE_TASKS


def write(root, task, split, *rows):
    path = root / SUPERGLUE_TASKS[task].folder / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


WSC_TEXT = "Mark told Pete many lies about himself, which Pete put in his book."
RECORD_TEXT = "Anna met Bo in Rome.\n@highlight\nBo likes Rome"
ONE_ROW = {
    "boolq": (
        {"question": "is it wet", "passage": " Rain is wet. ", "idx": 0, "label": True},
        [Example("is it wet", "Rain is wet.", 1)],
    ),
    "cb": (
        {"premise": "It rains.", "hypothesis": "It is dry.", "label": "contradiction", "idx": 0},
        [Example("It rains.", "It is dry.", 1)],
    ),
    "copa": (
        {
            "premise": "The glass fell.",
            "choice1": "It broke.",
            "choice2": "It flew.",
            "question": "effect",
            "label": 0,
            "idx": 0,
        },
        [
            ChoiceQuestion(
                "The glass fell.", "What happened as a result?", ("It broke.", "It flew."), 0
            )
        ],
    ),
    "multirc": (
        {
            "idx": 0,
            "passage": {
                "text": "Ann has a cat and a dog.",
                "questions": [
                    {
                        "question": "What has Ann?",
                        "answers": [
                            {"text": "a cat", "idx": 0, "label": 1},
                            {"text": "a cow", "idx": 1, "label": 0},
                            {"text": "a dog", "idx": 2, "label": 1},
                        ],
                        "idx": 0,
                    },
                    {
                        "question": "Who has a cat?",
                        "answers": [{"text": "Ann", "idx": 3, "label": 1}],
                        "idx": 1,
                    },
                ],
            },
        },
        [
            CandidateQuestion(
                "Ann has a cat and a dog.",
                "What has Ann?",
                ("a cat", "a cow", "a dog"),
                (1, 0, 1),
            ),
            CandidateQuestion("Ann has a cat and a dog.", "Who has a cat?", ("Ann",), (1,)),
        ],
    ),
    "record": (
        {
            "source": "made up",
            "passage": {
                "text": RECORD_TEXT,
                "entities": [
                    {"start": 0, "end": 3},
                    {"start": 9, "end": 10},
                    {"start": 15, "end": 18},
                    {"start": 32, "end": 33},
                ],
            },
            "qas": [
                {
                    "query": "@placeholder loves that city.",
                    "answers": [
                        {"start": 9, "end": 10, "text": "Bo"},
                        {"start": 32, "end": 33, "text": "Bo"},
                    ],
                    "idx": 0,
                }
            ],
            "idx": 0,
        },
        [
            CandidateQuestion(
                "Anna met Bo in Rome. Bo likes Rome",
                "@placeholder loves that city.",
                ("Anna", "Bo", "Rome"),
                (0, 1, 0),
                ("Bo", "Bo"),
            )
        ],
    ),
    "rte": (
        {"premise": "It rains.", "hypothesis": "It is wet.", "label": "entailment", "idx": 0},
        [Example("It rains.", "It is wet.", 0)],
    ),
    "wic": (
        {
            "word": "bank",
            "sentence1": " By the banks.",
            "sentence2": "My bank pays.",
            "idx": 0,
            "label": False,
            "start1": 8,
            "end1": 13,
            "start2": 3,
            "end2": 7,
            "version": 1.1,
        },
        [SpanPair(" By the banks.", (8, 13), "My bank pays.", (3, 7), 0)],
    ),
    "wsc": (
        {
            "target": {
                "span1_index": 2,
                "span1_text": "Pete",
                "span2_index": 11,
                "span2_text": "his",
            },
            "text": WSC_TEXT,
            "idx": 0,
            "label": True,
        },
        [SpanPair(WSC_TEXT, (10, 14), None, (58, 61), 1)],
    ),
}


def unlabelled(example):
    if isinstance(example, CandidateQuestion):
        return example._replace(labels=None, answers=())
    return example._replace(label=None)


def without_labels(value):
    if isinstance(value, dict):
        kept = {key: without_labels(inner) for key, inner in value.items() if key != "label"}
        return {
            key: inner for key, inner in kept.items() if not (key == "answers" and "query" in kept)
        }
    return [without_labels(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.core
def test_the_table_has_every_task_with_a_parser_and_consistent_labels():
    assert " ".join(SUPERGLUE_TASKS) == "boolq cb copa multirc record rte wic wsc"
    assert PARSERS.keys() == SUPERGLUE_TASKS.keys() == ONE_ROW.keys()
    for name, task in SUPERGLUE_TASKS.items():
        assert len(task.label_names) == (3 if name == "cb" else 2)
        assert name == "record" or len(task.file_labels) == len(task.label_names)
        assert (task.columns is not None) == (task.kind == "pair")
    reported = {name: task.metrics for name, task in SUPERGLUE_TASKS.items()}
    assert reported == dict.fromkeys(SUPERGLUE_TASKS, ("accuracy",)) | {
        "cb": ("accuracy", "macro_f1"),
        "multirc": ("f1a", "exact_match"),
        "record": ("f1", "exact_match"),
    }


@pytest.mark.core
@pytest.mark.parametrize("task", ONE_ROW)
def test_each_task_reads_its_own_columns(tmp_path, task):
    row, expected = ONE_ROW[task]
    write(tmp_path, task, "train", row, row)
    assert read_superglue(tmp_path, task, "train") == (expected * 2, [])


@pytest.mark.core
@pytest.mark.parametrize("task", ONE_ROW)
def test_each_test_split_is_read_without_labels(tmp_path, task):
    row, expected = ONE_ROW[task]
    write(tmp_path, task, "test", without_labels(row))
    assert read_superglue(tmp_path, task, "test") == ([unlabelled(e) for e in expected], [])


BAD_ROWS = {
    "boolean": (
        "boolq",
        ["label"],
        "yes",
        "column label: unknown label 'yes', expected one of fal",
    ),
    "name": ("cb", ["label"], "contradicts", "column label: unknown label 'contradicts', expected"),
    "text": ("rte", ["premise"], None, "column premise: expected text, got null"),
    "asked": ("copa", ["question"], "reason", "column question: unknown label 'reason', expected"),
    "choice": ("copa", ["label"], 2, "column label: unknown label 2, expected one of 0, 1"),
    "wic": (
        "wic",
        ["end1"],
        99,
        "column start1: expected 0 <= start < end <= 14, got 8 and 99",
    ),
    "wic order": (
        "wic",
        ["end2"],
        3,
        "column start2: expected 0 <= start < end <= 13, got 3 and 3",
    ),
    "wsc index": (
        "wsc",
        ["target", "span2_index"],
        13,
        "column target.span2_index: expected one of the 13 words, got 13",
    ),
    "wsc text": (
        "wsc",
        ["target", "span1_text"],
        "Pet",
        "column target.span1_text: 'Pet' is not in the text",
    ),
    "wsc empty": ("wsc", ["target", "span1_text"], " ", "column target.span1_text: ' ' is not in"),
    "answers": (
        "multirc",
        ["passage", "questions", 1, "answers"],
        [],
        "column passage.questions[1].answers: expected at least one answer, got none",
    ),
    "answer label": (
        "multirc",
        ["passage", "questions", 0, "answers", 2, "label"],
        2,
        "column passage.questions[0].answers[2].label: unknown label 2, expected one of 0, 1",
    ),
    "query": (
        "record",
        ["qas", 0, "query"],
        "Who?",
        "column qas[0].query: no @placeholder in 'Who?'",
    ),
    "entity": (
        "record",
        ["passage", "entities", 3, "end"],
        45,
        "column passage.entities[3].start: expected 0 <= start < end <= 45, got 32 and 46",
    ),
    "no entity": (
        "record",
        ["passage", "entities"],
        [],
        "column passage.entities: expected at least",
    ),
    "no answer": (
        "record",
        ["qas", 0, "answers"],
        [],
        "column qas[0].answers: expected at least one",
    ),
}


@pytest.mark.core
@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_row_is_named_by_file_line_and_column_or_left_out(tmp_path, case):
    task, keys, value, reason = BAD_ROWS[case]
    row, expected = ONE_ROW[task]
    bad = inner = copy.deepcopy(row)
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path = write(tmp_path, task, "val", row, bad, row)
    with pytest.raises(ValueError) as caught:
        read_superglue(tmp_path, task, "val")
    assert str(caught.value).startswith(f"{path}:2 {reason}")
    examples, skipped = read_superglue(tmp_path, task, "val", max_bad_rows=1)
    assert (examples, skipped) == (expected * 2, [str(caught.value)])


@given(st.integers(0, 30), st.sampled_from(["cat", "The Cat", "cat cat"]), st.integers(0, 8))
def test_span_of_a_pronoun_is_the_nearest_occurrence_to_the_word_counted_to(index, phrase, gap):
    text = "a cat sat, " + " " * gap + "the  cat cat (cats) saw the cat."
    row = {
        "text": text,
        "target": {"span1_index": 0, "span1_text": "a", "span2_index": index, "span2_text": phrase},
        "label": True,
    }
    parse = PARSERS["wsc"]
    if index >= len(text.split()):
        with pytest.raises(ValueError, match="span2_index: expected one of the 10 words"):
            parse(row, SUPERGLUE_TASKS["wsc"], labelled=True)
        return
    ((_, _, _, (start, end), _),) = parse(row, SUPERGLUE_TASKS["wsc"], labelled=True)
    assert " ".join(text[start:end].lower().split()) == phrase.lower()
    assert not text[end : end + 1].isalnum()
    words = text.split()
    if [word.strip("(),.") for word in words][
        index : index + len(phrase.split())
    ] == phrase.lower().split():
        assert len(text[:start].split()) == index


@pytest.mark.core
def test_unknown_task_or_split_or_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="'wsc'; got 'ReCoRD'; did you mean 'record'"):
        read_superglue(tmp_path, "ReCoRD", "val")
    with pytest.raises(ValueError, match="split of cb must be one of 'train', 'val', 'test'"):
        read_superglue(tmp_path, "cb", "dev")
    write(tmp_path, "cb", "val", {})
    with pytest.raises(FileNotFoundError, match=r"the file .*train.jsonl; .* has \['val.jsonl'\]"):
        read_superglue(tmp_path, "cb", "train")
    with pytest.raises(FileNotFoundError, match=r"expected the folder .*COPA; .* has \['CB'\]"):
        read_superglue(tmp_path, "copa", "train")
