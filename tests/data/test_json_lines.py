import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.json_fields import read_class, read_field, read_objects
from hopfield_attn.data.json_lines import read_json_lines

pytestmark = pytest.mark.core


def identity(row):
    return [row]


def texts_of(row):
    return [read_field(row, "text", str)]


@given(
    st.lists(st.text(st.characters(blacklist_categories=["Cs"])), min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
    st.booleans(),
    st.booleans(),
)
def test_any_text_survives_whatever_its_separators(
    tmp_path_factory, texts, line_end, is_ascii, has_mark
):
    path = tmp_path_factory.mktemp("lines") / "train.jsonl"
    lines = [json.dumps({"text": text}, ensure_ascii=is_ascii) for text in texts]
    path.write_bytes(line_end.join(lines).encode("utf-8-sig" if has_mark else "utf-8"))
    assert read_json_lines(path, texts_of, max_bad_rows=0) == (texts, [])


GOOD = b'{"text": "fine"}\n'
BAD_LINES = {
    "cut": (b'{"text": "a', "column 10: not JSON (Unterminated string starting at)"),
    "two objects": (b'{"text": "a"} {}', "column 15: not JSON (Extra data)"),
    "bytes": (b'{"text": "caf\xe9"}', "column 14: not UTF-8 at this byte (invalid"),
    "list": (b"[1]", "column 1: expected a JSON object, got a list"),
    "brackets": (b"[" * 200_000, "column 1: JSON that cannot be read (maximum recursion"),
    "digits": (b'{"text": ' + b"9" * 5000 + b"}", "column 1: JSON that cannot be read (Exceeds"),
    "missing": (b'{"txt": "a"}', "column text: missing; the row has ['txt']"),
    "number": (b'{"text": 3}', "column text: expected text, got 3"),
    "null": (b'{"text": null}', "column text: expected text, got null"),
    "surrogate": (b'{"text": "\\ud800"}', "column text: half of a surrogate pair in '\\ud800'"),
    "long": (b'{"text": [' + b"1," * 100_000 + b"1]}", "column text: expected text, got [1, 1,"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_line_is_one_line_with_its_place_or_is_left_out(tmp_path, case):
    line, reason = BAD_LINES[case]
    path = tmp_path / "train.jsonl"
    path.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD)
    with pytest.raises(ValueError) as caught:
        read_json_lines(path, texts_of, max_bad_rows=0)
    message = str(caught.value)
    assert message.startswith(f"{path}:3 {reason}")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 200
    rows, skipped = read_json_lines(path, texts_of, max_bad_rows=1)
    assert (rows, skipped) == (["fine", "fine"], [message])


def test_the_bad_line_after_the_limit_is_the_error(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(GOOD + b"{\n[]\n" + GOOD + b"3\n")
    with pytest.raises(ValueError, match="train.jsonl:5 column 1: expected a JSON object"):
        read_json_lines(path, identity, max_bad_rows=2)
    assert len(read_json_lines(path, identity, max_bad_rows=3)[1]) == 3


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", b"{\n"])
def test_file_without_a_usable_line_is_an_error_at_any_limit(tmp_path, content):
    path = tmp_path / "train.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="train.jsonl:1 column 1: the file has no usable row"):
        read_json_lines(path, identity, max_bad_rows=9)


def test_limit_has_to_be_a_count(tmp_path):
    with pytest.raises(ValueError, match="max_bad_rows must be >= 0; got -1"):
        read_json_lines(tmp_path / "any", identity, max_bad_rows=-1)


def test_place_of_a_nested_field_is_in_the_message():
    row = {"passage": {"questions": [{"text": "a"}, {"text": 1}, 2]}}
    passage = read_field(row, "passage", dict)
    with pytest.raises(ValueError, match=r"column passage\.questions\[2\]: expected an object"):
        read_objects(passage, "questions", inside="passage")
    passage["questions"].pop()
    (_, first), (place, second) = read_objects(passage, "questions", inside="passage")
    assert first == {"text": "a"}
    with pytest.raises(ValueError, match=r"column passage\.questions\[1\]\.text: expected text"):
        read_field(second, "text", str, inside=place)


def test_true_is_no_number_and_one_no_truth():
    assert read_class({"label": 1}, "label", (0, 1)) == 1
    assert read_class({"label": True}, "label", (False, True)) == 1
    with pytest.raises(ValueError, match="unknown label true, expected one of 0, 1$"):
        read_class({"label": True}, "label", (0, 1))
    with pytest.raises(ValueError, match="unknown label 1, expected one of false, true$"):
        read_class({"label": 1}, "label", (False, True))
    with pytest.raises(ValueError, match="expected an integer, got true"):
        read_field({"start": True}, "start", int)
