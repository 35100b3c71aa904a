from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.glue import Example, read_glue

MNLI_HEADER = "index\tsentence1\tsentence2\tlabel1\tgold_label\n"


def write(root: Path, name: str, content: str | bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("task", "split", "num_rows", "mean_label"),
    [
        ("cola", "train", 8551, 0.704362),
        ("cola", "dev", 1043, 0.689358),
        ("rte", "train", 2490, 0.498394),
        ("rte", "dev", 277, 0.472924),
        ("sst2", "train", 67349, 0.557826),
        ("sst2", "dev", 872, 0.509174),
        ("stsb", "train", 5749, 2.700999),
        ("stsb", "dev", 1500, 2.363908),
    ],
)
def test_real_files_have_the_published_rows(glue_dir, task, split, num_rows, mean_label):
    examples, _ = read_glue(glue_dir, task, split)
    assert len(examples) == num_rows
    assert sum(example.label for example in examples) / num_rows == pytest.approx(
        mean_label, abs=1e-6
    )
    assert all(example.sentence1 for example in examples)
    assert all((example.sentence2 is None) == (task in ("cola", "sst2")) for example in examples)


def test_real_test_split_has_no_labels(glue_dir):
    examples, _ = read_glue(glue_dir, "rte", "test")
    assert len(examples) == 3000
    assert {example.label for example in examples} == {None}


ONE_ROW = {
    "cola": ("CoLA/train.tsv", "gj04\t0\t*\tThem runs.\n", ("Them runs.", None, 0)),
    "sst2": ("SST-2/train.tsv", "sentence\tlabel\na fine film \t1\n", ("a fine film", None, 1)),
    "mrpc": (
        "MRPC/train.tsv",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tOne.\tTwo.\n",
        ("One.", "Two.", 1),
    ),
    "stsb": (
        "STS-B/train.tsv",
        "index\tgenre\tsentence1\tsentence2\tscore\n0\tnews\tA b.\tC d.\t3.800\n",
        ("A b.", "C d.", 3.8),
    ),
    "qqp": (
        "QQP/train.tsv",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n5\t6\t7\tWhy?\tHow?\t0\n",
        ("Why?", "How?", 0),
    ),
    "mnli": (
        "MNLI/train.tsv",
        MNLI_HEADER + "0\tA.\tB.\tneutral\tcontradiction\n",
        ("A.", "B.", 2),
    ),
    "qnli": (
        "QNLI/train.tsv",
        "index\tquestion\tsentence\tlabel\n0\tWho?\tHe.\tnot_entailment\n",
        ("Who?", "He.", 1),
    ),
    "rte": (
        "RTE/train.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tentailment\n",
        ("A.", "B.", 0),
    ),
    "wnli": (
        "WNLI/train.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\t1\n",
        ("A.", "B.", 1),
    ),
}


@pytest.mark.parametrize("task", ONE_ROW)
def test_each_task_reads_its_own_columns(tmp_path, task):
    name, content, expected = ONE_ROW[task]
    write(tmp_path, name, content)
    assert read_glue(tmp_path, task, "train")[0] == [Example(*expected)]


@pytest.mark.parametrize("task", ONE_ROW)
def test_each_test_split_is_read_by_its_header_without_labels(tmp_path, task):
    name, content, expected = ONE_ROW[task]
    if task == "cola":
        content = "index\tsentence\n0\tThem runs.\n"
    split = "test_matched" if task == "mnli" else "test"
    write(tmp_path, name.replace("train", split), content)
    assert read_glue(tmp_path, task, split)[0] == [Example(expected[0], expected[1], None)]


def test_rows_without_gold_label_are_dropped(tmp_path):
    rows = "0\tA.\tB.\tneutral\t-\n1\tC.\tD.\tneutral\tentailment\n"
    write(tmp_path, "MNLI/dev_mismatched.tsv", MNLI_HEADER + rows)
    assert read_glue(tmp_path, "mnli", "dev_mismatched")[0] == [Example("C.", "D.", 0)]


sentences = st.text(
    st.characters(blacklist_characters="\t\n\r", blacklist_categories=["Cs"]), max_size=20
).map(str.strip)


@given(
    st.lists(st.tuples(sentences, st.sampled_from("01")), min_size=1, max_size=10),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
)
def test_any_sentence_survives_whatever_its_quotes_and_separators(
    tmp_path_factory, rows, line_end, has_mark, ends_in_newline
):
    lines = ["sentence\tlabel", *("\t".join(row) for row in rows)]
    text = line_end.join(lines) + (line_end if ends_in_newline else "")
    root = tmp_path_factory.mktemp("glue")
    write(root, "SST-2/dev.tsv", text.encode("utf-8-sig" if has_mark else "utf-8"))
    expected = [Example(sentence, None, int(label)) for sentence, label in rows]
    assert read_glue(root, "sst2", "dev")[0] == expected


def test_line_of_a_megabyte_is_read(tmp_path):
    write(tmp_path, "SST-2/dev.tsv", "sentence\tlabel\n" + "long " * 250_000 + "\t1\n")
    (example,), _ = read_glue(tmp_path, "sst2", "dev")
    assert len(example.sentence1) == 5 * 250_000 - 1


SST2, STSB = "SST-2/dev.tsv", "STS-B/dev.tsv"
STSB_HEADER = "index\tsentence1\tsentence2\tscore\n"
BAD_FILES = {
    "empty": ("sst2", SST2, "", "dev.tsv:1 column sentence: the file is empty"),
    "header only": (
        "sst2",
        SST2,
        "sentence\tlabel\n",
        "dev.tsv:1 column sentence: .*no usable row",
    ),
    "no header": ("sst2", SST2, "good\t1\n", r"dev.tsv:1 column sentence: not in .*'good', '1'"),
    "no label": ("sst2", SST2, "sentence\nx\n", "dev.tsv:1 column label: not in the header"),
    "header bytes": ("sst2", SST2, b"\xffx\tlabel\n", "dev.tsv:1 column 1: not UTF-8 at byte 0"),
    "few columns": (
        "sst2",
        SST2,
        "sentence\tlabel\ngood\t1\nbad\n",
        "dev.tsv:3 column label: expected 2 columns, got 1$",
    ),
    "many columns": (
        "sst2",
        SST2,
        "sentence\tlabel\ngo\tod\t1\n",
        "dev.tsv:2 column label: expected 2 columns, got 3$",
    ),
    "headerless columns": (
        "cola",
        "CoLA/dev.tsv",
        "gj04\t1\t\tFine.\ngj04\t1\n",
        "dev.tsv:2 column mark: expected 4 columns, got 2$",
    ),
    "label": (
        "sst2",
        SST2,
        "sentence\tlabel\n\n\ngood\t2\n",
        "dev.tsv:4 column label: unknown label '2', expected one of 0, 1$",
    ),
    "label by name": (
        "rte",
        "RTE/dev.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\tA\tB\tentails\n",
        "dev.tsv:2 column label: unknown label 'entails', expected one of entailment, not",
    ),
    "no gold label": (
        "rte",
        "RTE/dev.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\tA\tB\t-\n",
        "dev.tsv:2 column label: unknown label '-'",
    ),
    "bytes": (
        "sst2",
        SST2,
        b"sentence\tlabel\ngood\t1\ncaf\xe9 noir\t0\n",
        r"dev.tsv:3 column sentence: not UTF-8 at byte 3 of the field \(invalid",
    ),
    "score": ("stsb", STSB, STSB_HEADER + "0\tA\tB\tfour\n", r"dev.tsv:2 column score: .*'four'"),
    "nan score": ("stsb", STSB, STSB_HEADER + "0\tA\tB\tnan\n", r"score: .*\[0, 5\], got 'nan'"),
    "high score": ("stsb", STSB, STSB_HEADER + "0\tA\tB\t5.1\n", r"score: .*\[0, 5\], got '5.1'"),
    "low score": ("stsb", STSB, STSB_HEADER + "0\tA\tB\t-1\n", r"score: .*\[0, 5\], got '-1'"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_malformed_file_is_one_line_with_file_line_and_column(tmp_path, case):
    task, name, content, reason = BAD_FILES[case]
    path = write(tmp_path, name, content)
    with pytest.raises(ValueError, match=reason) as caught:
        read_glue(tmp_path, task, "dev")
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 200


def test_huge_bad_label_is_shortened_in_the_message(tmp_path):
    write(tmp_path, SST2, "sentence\tlabel\ngood\t" + "9" * 100_000)
    with pytest.raises(ValueError, match=r"unknown label '9+\.\.\.9+'") as caught:
        read_glue(tmp_path, "sst2", "dev")
    assert len(str(caught.value)) < 500


def test_bad_rows_are_left_out_and_reported_up_to_the_limit(tmp_path):
    rows = "good\t1\nbroken\nfine\t1\nbad\tx\n"
    path = write(tmp_path, SST2, "sentence\tlabel\n" + rows)
    examples, skipped = read_glue(tmp_path, "sst2", "dev", max_bad_rows=2)
    assert [example.sentence1 for example in examples] == ["good", "fine"]
    assert [line.split(": ")[0] for line in skipped] == [
        f"{path}:3 column label",
        f"{path}:5 column label",
    ]
    with pytest.raises(ValueError, match="dev.tsv:5 column label: unknown label 'x'"):
        read_glue(tmp_path, "sst2", "dev", max_bad_rows=1)


def test_file_of_bad_rows_only_is_an_error_at_any_limit(tmp_path):
    write(tmp_path, SST2, "sentence\tlabel\nbroken\n")
    with pytest.raises(ValueError, match="no usable row"):
        read_glue(tmp_path, "sst2", "dev", max_bad_rows=10)


def test_missing_folder_or_file_names_what_was_expected_and_what_is_there(tmp_path):
    write(tmp_path, "CoLA/train.tsv", "gj04\t1\t\tFine.\n")
    with pytest.raises(FileNotFoundError, match=r"expected the folder .*RTE; .* has \['CoLA'\]"):
        read_glue(tmp_path, "rte", "dev")
    with pytest.raises(FileNotFoundError, match=r"the file .*dev.tsv; .* has \['train.tsv'\]"):
        read_glue(tmp_path, "cola", "dev")
    with pytest.raises(FileNotFoundError, match="absent does not exist"):
        read_glue(tmp_path / "absent", "cola", "dev")


def test_unknown_split_lists_the_known_ones(tmp_path):
    with pytest.raises(
        ValueError, match="split of mnli must be one of 'train', 'dev_matched'.*; got 'dev'"
    ):
        read_glue(tmp_path, "mnli", "dev")


def test_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path, "glue/CoLA/dev.tsv", "gj04\t1\t\tFine.\n")
    assert read_glue("~/glue", "cola", "dev")[0] == [Example("Fine.", None, 1)]
