import copy
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.examples import ChoiceQuestion
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.quality import read_quality
from hopfield_attn.data.scrolls import ScrollsExample, read_scrolls, read_scrolls_pairs
from hopfield_attn.data.tokenizer import encode_texts, special_ids
from hopfield_attn.data.window_encoding import encode_window_choices, encode_windows

ARTICLE = {
    "article_id": "1",
    "article": " A long story.\n",
    "questions": [
        {
            "question": "Who?",
            "options": ["Al", " Bo", "Cy", "Di"],
            "gold_label": 4,
            "difficult": 0,
        },
        {
            "question": "Why?",
            "options": ["a", "b", "c", "d"],
            "gold_label": 1,
            "difficult": 1,
        },
    ],
}
QUESTIONS = [
    ChoiceQuestion("A long story.", "Who?", ("Al", "Bo", "Cy", "Di"), 3, False),
    ChoiceQuestion("A long story.", "Why?", ("a", "b", "c", "d"), 0, True),
]


def write_lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_quality_labels_count_from_one_in_the_file_and_from_zero_here(tmp_path):
    write_lines(tmp_path / "QuALITY.v1.0.1.train", ARTICLE, ARTICLE)
    assert read_quality(tmp_path, "train") == (QUESTIONS * 2, [])


def test_quality_test_split_has_no_labels(tmp_path):
    row = copy.deepcopy(ARTICLE)
    for question in row["questions"]:
        del question["gold_label"]
    write_lines(tmp_path / "test.jsonl", row)
    assert read_quality(tmp_path, "test")[0] == [q._replace(label=None) for q in QUESTIONS]


def test_quality_file_without_markup_comes_first_and_two_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dev.jsonl or .*QuALITY.VERSION.dev; .* has \[\]"):
        read_quality(tmp_path, "dev")
    write_lines(tmp_path / "QuALITY.v1.0.1.dev", {"article": "<b>"})
    write_lines(tmp_path / "QuALITY.v1.0.1.htmlstripped.dev", ARTICLE)
    assert read_quality(tmp_path, "dev")[0] == QUESTIONS
    write_lines(tmp_path / "QuALITY.v1.0.htmlstripped.dev", ARTICLE)
    with pytest.raises(ValueError, match=r"several files for dev: \['QuALITY.v1.0.1.htmlstripped"):
        read_quality(tmp_path, "dev")


BAD_QUESTIONS = {
    "label": ({"gold_label": 0}, "gold_label: unknown label 0, expected one of 1, 2, 3, 4"),
    "options": ({"options": ["a"]}, "options: expected 4 options, got 1"),
    "option": ({"options": ["a", "b", 3, "d"]}, "options[2]: expected text, got 3"),
    "difficult": ({"difficult": None}, "difficult: unknown label null, expected one of 0, 1"),
}


@pytest.mark.parametrize("case", BAD_QUESTIONS)
def test_bad_article_is_named_or_left_out(tmp_path, case):
    change, reason = BAD_QUESTIONS[case]
    bad = copy.deepcopy(ARTICLE)
    bad["questions"][1] |= change
    path = write_lines(tmp_path / "dev.jsonl", ARTICLE, bad)
    with pytest.raises(ValueError) as caught:
        read_quality(tmp_path, "dev")
    assert str(caught.value) == f"{path}:2 column questions[1].{reason}"
    assert read_quality(tmp_path, "dev", max_bad_rows=1) == (QUESTIONS, [str(caught.value)])


def test_scrolls_lines_are_read_and_their_classes_found(tmp_path):
    rows = [
        {"id": "1", "pid": "1_0", "input": "It is.\n\nYes,\n\nit is.", "output": "Entailment"},
        {"id": "2", "pid": "2_0", "input": "It was.\n\nNo.", "output": "Not mentioned"},
    ]
    write_lines(tmp_path / "contract_nli" / "train.jsonl", *rows)
    examples, skipped = read_scrolls(tmp_path, "contract_nli", "train")
    assert examples[1] == ScrollsExample("2", "2_0", "It was.\n\nNo.", "Not mentioned")
    assert skipped == []
    pairs = [Example("Yes,\n\nit is.", "It is.", 0), Example("No.", "It was.", 2)]
    assert read_scrolls_pairs(tmp_path, "contract_nli", "train") == (pairs, [])
    write_lines(tmp_path / "contract_nli" / "test.jsonl", {**rows[0], "output": None})
    assert read_scrolls(tmp_path, "contract_nli", "test")[0][0].output_text is None
    assert read_scrolls_pairs(tmp_path, "contract_nli", "test")[0] == [
        pairs[0]._replace(label=None)
    ]


def test_scrolls_line_without_its_parts_is_named(tmp_path):
    rows = [{"input": "a\n\nb", "output": "Neutral"}, {"input": "a\nb", "output": "Entailment"}]
    for row, reason in zip(
        rows, ("output: unknown label 'Neutral'", "input: no empty line"), strict=True
    ):
        path = write_lines(tmp_path / "contract_nli" / "train.jsonl", row)
        with pytest.raises(ValueError, match=f"^{path}:1 column {reason}"):
            read_scrolls_pairs(tmp_path, "contract_nli", "train")
    with pytest.raises(ValueError, match="must be one of 'contract_nli'; got 'qasper'"):
        read_scrolls_pairs(tmp_path, "qasper", "train")
    with pytest.raises(ValueError, match="must be one of 'train', 'validation', 'test'; got 'dev'"):
        read_scrolls(tmp_path, "qasper", "dev")
    path = write_lines(
        tmp_path / "qasper" / "validation.jsonl", {"id": "1", "pid": "2", "input": "x"}
    )
    with pytest.raises(ValueError, match=f"^{path}:1 column output: missing"):
        read_scrolls(tmp_path, "qasper", "validation")


words = st.lists(st.sampled_from(["the", "cat", "Reading", "x"]), max_size=40).map(" ".join)


@given(
    st.lists(
        st.tuples(words, st.none() | words.map(lambda text: text[:20])), min_size=1, max_size=3
    ),
    st.integers(8, 30),
    st.integers(1, 5),
    st.integers(1, 12),
)
def test_windows_follow_each_other_through_the_document(
    any_tokenizer, rows, length, num_windows, stride
):
    examples = [Example(first, second, 1) for first, second in rows]
    source = encode_windows(
        any_tokenizer, examples, length=length, num_windows=num_windows, stride=stride
    )
    ids = special_ids(any_tokenizer)
    assert source.arrays["tokens"].shape == (len(rows), num_windows, length)
    for i, (first, second) in enumerate(rows):
        document, asked = encode_texts(any_tokenizer, [first, second or ""])
        tail = [] if second is None else [*asked[: (length - 3) // 2], ids["[SEP]"]]
        size = length - 2 - len(tail)
        starts = range(0, max(1, len(document) - size + min(size, stride)), min(size, stride))
        for k in range(num_windows):
            used = source[i]["mask"][k].sum()
            row = source[i]["tokens"][k, :used].tolist()
            is_real = k < len(starts)
            assert source[i]["windows"][k] == is_real
            if is_real:
                part = document[starts[k] : starts[k] + size]
                assert row == [ids["[CLS]"], *part, ids["[SEP]"], *tail]
            else:
                assert row == [ids["[CLS]"], ids["[SEP]"]] + [ids["[SEP]"]] * (second is not None)
            assert source[i]["token_types"][k].sum() == (
                len(tail) if is_real else second is not None
            )


def test_choices_have_the_windows_of_the_article_each(tokenizer):
    article = "the class returns " * 9
    question = ChoiceQuestion(article, "What?", ("it", "them", "none", "all"), 2, True)
    settings = {"length": 20, "num_windows": 3, "stride": 10}
    source = encode_window_choices(tokenizer, [question, question], **settings)
    row = source[1]
    assert row["tokens"].shape == (4, 3, 20)
    assert (row["labels"], row["difficult"]) == (2, True)
    for k, choice in enumerate(question.choices):
        pair = Example(article, f"What? {choice}", None)
        expected = encode_windows(tokenizer, [pair], **settings)[0]
        for name, column in expected.items():
            np.testing.assert_array_equal(row[name][k], column)


def test_one_long_window_is_the_whole_document(tokenizer):
    text = "the class returns " * 50
    source = encode_windows(
        tokenizer, [Example(text, "x", None)], length=2000, num_windows=1, stride=1
    )
    document, asked = encode_texts(tokenizer, [text, "x"])
    assert source.arrays["mask"].sum() == len(document) + len(asked) + 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"length": 4}, "length must be >= 5; got 4"),
        ({"num_windows": 0}, "num_windows must be >= 1; got 0"),
        ({"stride": 0}, "stride must be >= 1; got 0"),
    ],
)
def test_numbers_that_leave_no_window_are_an_error(tokenizer, changes, reason):
    settings = {"length": 9, "num_windows": 1, "stride": 1} | changes
    with pytest.raises(ValueError, match=reason):
        encode_windows(tokenizer, [Example("a", None, 1)], **settings)
    with pytest.raises(ValueError, match="at least one example"):
        encode_windows(tokenizer, [], length=9, num_windows=1, stride=1)
