import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.tsv import read_table, write_table

pytestmark = pytest.mark.core

FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r"), min_size=1)


@given(st.lists(st.tuples(FIELDS, FIELDS)))
def test_what_is_written_is_read(rows):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tsv")
        write_table(path, ["a", "b"], rows)
        assert read_table(path) == (["a", "b"], [list(row) for row in rows])


def test_files_of_other_systems_are_read_too(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes('\ufeffa\tb\r\n1\t"x\u2028y\r\n\r\n'.encode())
    assert read_table(path) == (["a", "b"], [["1", '"x\u2028y']])


def test_empty_line_of_a_single_column_is_a_row(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("text\ngood\n\nbad\n\n\n")
    assert read_table(path) == (["text"], [["good"], [""], ["bad"]])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ":1 the first line must name the columns"),
        (b"a\ta\n", ":1 the first line must name the columns, each once"),
        (b"a\tb\n1\t2\n3\n", ":3 expected 2 columns, got 1"),
        (b"a\n\xff\n", "not UTF-8 at byte 2"),
    ],
)
def test_file_that_is_no_table_is_refused(content, words, tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_table(path)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.tsv")


def test_field_that_would_break_the_table_is_not_written(tmp_path):
    for field in ("a\tb", "a\nb"):
        with pytest.raises(ValueError, match="must not hold a tab or a line feed"):
            write_table(tmp_path / "a.tsv", ["a"], [[field]])
    assert not (tmp_path / "a.tsv").exists()
