import copy
import json

import pytest

from hopfield_attn.data.squad import SpanAnswer, SpanQuestion, read_squad

pytestmark = pytest.mark.core

CONTEXT = "Früher “hier”: Ann met Bo. Bo met Cy."
ENTRY = {
    "id": "q0",
    "question": " Who met Cy? ",
    "answers": [{"text": "Bo", "answer_start": 23}, {"text": "Bo", "answer_start": 27}],
}
OPEN = {
    "id": "q1",
    "question": "Who met Di?",
    "is_impossible": True,
    "answers": [],
    "plausible_answers": [{"text": "Bo", "answer_start": 0}],
}
QUESTION = SpanQuestion("q0", CONTEXT, "Who met Cy?", (SpanAnswer("Bo", 23), SpanAnswer("Bo", 27)))
V1, V2 = "dev-v1.1.json", "dev-v2.0.json"


def write(folder, name, *entries, context=CONTEXT, mark=""):
    data = {
        "version": "made up",
        "data": [{"paragraphs": [{"context": context, "qas": [*entries]}]}],
    }
    path = folder / name
    path.write_text(mark + json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return path


def test_questions_come_with_their_answers_or_with_none(tmp_path):
    write(tmp_path, V1, ENTRY, mark="\ufeff")
    assert read_squad(tmp_path, "squad", "dev") == ([QUESTION], [])
    write(tmp_path, V2, ENTRY | {"is_impossible": False}, OPEN)
    assert read_squad(tmp_path, "squad_v2", "dev") == (
        [QUESTION, SpanQuestion("q1", CONTEXT, "Who met Di?", ())],
        [],
    )


BAD = {
    "text": (["answers", 1, "text"], "Al", "answers[1].answer_start: the context has 'Bo' at 27"),
    "start": (["answers", 0, "answer_start"], 22, "answers[0].answer_start: the context has ' B'"),
    "negative": (
        ["answers", 0, "answer_start"],
        -10,
        "answers[0].answer_start: the context has ''",
    ),
    "behind": (["answers", 0, "answer_start"], 99, "answers[0].answer_start: the context has ''"),
    "empty": (["answers", 0, "text"], "", "answers[0].answer_start: the context has ''"),
    "type": (["answers", 0, "answer_start"], "23", "answers[0].answer_start: expected an integer"),
    "none": (["answers"], [], "answers: expected at least one answer, got none"),
    "id": (["id"], 3, "id: expected text, got 3"),
    "open": (["is_impossible"], True, "is_impossible: true, in a version where it cannot be"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_question_is_named_or_left_out(tmp_path, case):
    keys, value, reason = BAD[case]
    bad = inner = copy.deepcopy(ENTRY)
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path = write(tmp_path, V1, ENTRY, bad)
    with pytest.raises(ValueError) as caught:
        read_squad(tmp_path, "squad", "dev")
    message = str(caught.value)
    assert message.startswith(f"{path} column data[0].paragraphs[0].qas[1].{reason}")
    assert read_squad(tmp_path, "squad", "dev", max_bad_rows=1) == ([QUESTION], [message])


def test_bad_paragraph_or_article_counts_once(tmp_path):
    good = {"context": CONTEXT, "qas": [ENTRY]}
    data = [{"paragraphs": [{"qas": [ENTRY, ENTRY]}, good]}, {"title": "x"}, {"paragraphs": [good]}]
    path = tmp_path / V1
    path.write_text(json.dumps({"data": data}))
    questions, skipped = read_squad(tmp_path, "squad", "dev", max_bad_rows=2)
    assert questions == [QUESTION] * 2
    assert [line.split(": ")[0] for line in skipped] == [
        f"{path} column data[0].paragraphs[0].context",
        f"{path} column data[1].paragraphs",
    ]
    with pytest.raises(ValueError, match=r"column data\[1\]\.paragraphs: missing"):
        read_squad(tmp_path, "squad", "dev", max_bad_rows=1)


def test_file_that_is_no_squad_is_named(tmp_path):
    (tmp_path / V1).write_text('{"data": [')
    with pytest.raises(ValueError, match=f"{V1} column 11: not JSON"):
        read_squad(tmp_path, "squad", "dev")
    (tmp_path / V1).write_text('{"date": []}')
    with pytest.raises(ValueError, match=f"{V1} column data: missing"):
        read_squad(tmp_path, "squad", "dev")
    (tmp_path / V1).write_text('{"data": []}')
    with pytest.raises(ValueError, match=f"{V1} column data: the file has no usable question"):
        read_squad(tmp_path, "squad", "dev")


def test_unknown_version_or_split_or_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="must be one of 'squad', 'squad_v2'; got 'squad_v1'"):
        read_squad(tmp_path, "squad_v1", "dev")
    with pytest.raises(ValueError, match="split of squad must be one of 'train', 'dev'; got 'val'"):
        read_squad(tmp_path, "squad", "val")
    write(tmp_path, V1, ENTRY)
    with pytest.raises(FileNotFoundError, match=r"train-v1.1.json; .* has \['dev-v1.1.json'\]"):
        read_squad(tmp_path, "squad", "train")
