import random
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopfield_attn.data.corpus import (
    DOCUMENT_CHARACTERS,
    corpus_fingerprint,
    load_documents,
    split_documents,
)

TEXTS = [f"document number {i}" for i in range(400)]


def test_embedded_corpus_is_long_prose_without_duplicates(embedded):
    assert sum(len(document) for document in embedded) > 1_000_000
    assert len(embedded) > 1_500
    assert len(set(embedded)) == len(embedded)
    assert all(document == " ".join(document.split()) for document in embedded)


def test_reading_the_standard_library_imports_none_of_it(embedded):
    assert any("webbrowser" in document for document in embedded)
    # These two act when imported: one opens a browser, the other prints a poem.
    assert not {"antigravity", "this"} & set(sys.modules)


def test_neighbouring_paragraphs_are_joined_up_to_the_limit(tmp_path):
    half = "x" * (DOCUMENT_CHARACTERS // 2)
    long = "y" * (DOCUMENT_CHARACTERS + 1)
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(["a\nb", half, half, "c", long, "d"]))
    assert load_documents(str(path)) == [f"a b {half}", f"{half} c", long, "d"]


@settings(max_examples=50)
@given(st.lists(st.text(alphabet="ab \n", max_size=1200), min_size=1, max_size=8))
def test_joining_paragraphs_loses_no_word_and_keeps_the_limit(parts):
    text = "start\n\n" + "\n\n".join(parts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text.txt")
        path.write_text(text)
        documents = load_documents(str(path))
    # Duplicates are dropped, so compare only where there are none.
    words = [word for document in documents for word in document.split()]
    assert set(words) == set(text.split())
    if len(documents) == 1:
        assert words == text.split()
    paragraphs = {" ".join(block.split()) for block in text.split("\n\n")}
    assert all(len(d) <= DOCUMENT_CHARACTERS or d in paragraphs for d in documents)


def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path):
    plain, windows = tmp_path / "plain.txt", tmp_path / "windows.txt"
    plain.write_bytes("one\n\ntwo é\n".encode())
    windows.write_bytes("\ufeffone\r\n\r\ntwo é\r\n".encode())
    assert load_documents(str(plain)) == load_documents(str(windows)) == ["one two é"]


def test_sources_are_read_in_order_and_duplicates_dropped(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.txt").write_text("second")
    (folder / "a.txt").write_text("first")
    (folder / "deep" / "c.txt").write_text("third")
    (folder / "ignored.md").write_text("not read")
    single = tmp_path / "single.txt"
    single.write_text("first")
    monkeypatch.setattr("os.pathsep", "|")
    assert load_documents(f"{folder}|{single}") == ["first", "second", "third"]
    assert load_documents(f"{single}|{folder}") == ["first", "second", "third"]


BAD_FILES = {
    "empty": (b"", "holds no text"),
    "blank": (b" \n\t\n", "holds no text"),
    "latin1": (b"a" * 70_000 + b"caf\xe9", r"not UTF-8 at byte 70003 \("),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_one_error_that_names_it(tmp_path, name):
    data, reason = BAD_FILES[name]
    path = tmp_path / f"{name}.txt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{name}.txt: .*{reason}"):
        load_documents(str(path))


def test_missing_path_folder_without_text_and_empty_name_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.txt: no such"):
        load_documents(str(tmp_path / "absent.txt"))
    with pytest.raises(ValueError, match=f"{tmp_path.name}: the folder holds no .txt file"):
        load_documents(str(tmp_path))
    with pytest.raises(ValueError, match="empty path"):
        load_documents("")


@given(st.randoms(use_true_random=False), st.integers(0, 399))
def test_side_of_a_document_depends_on_its_text_only(rng: random.Random, num_dropped):
    full = split_documents(TEXTS, validation_fraction=0.2, test_fraction=0.1)
    kept = rng.sample(TEXTS, len(TEXTS) - num_dropped)
    try:
        part = split_documents(kept, validation_fraction=0.2, test_fraction=0.1)
    except ValueError:
        return
    for part_side, full_side in zip(part, full, strict=True):
        assert set(part_side) == set(full_side) & set(kept)


def test_sides_are_disjoint_complete_and_near_their_fractions():
    split = split_documents(TEXTS, validation_fraction=0.2, test_fraction=0.1)
    assert sorted(split.train + split.validation + split.test) == sorted(TEXTS)
    # Binomial with n = 400: standard deviations 8 and 6.
    assert abs(len(split.validation) - 80) < 32
    assert abs(len(split.test) - 40) < 24


def test_side_with_fraction_zero_is_empty():
    split = split_documents(TEXTS, validation_fraction=0.0, test_fraction=0.1)
    assert split.validation == []
    assert len(split.train) + len(split.test) == 400


def test_empty_side_and_impossible_fractions_are_errors():
    with pytest.raises(ValueError, match="the test side got none of 1 documents"):
        split_documents(["one"], validation_fraction=0.0, test_fraction=1e-9)
    with pytest.raises(ValueError, match="the train side got none of 0 documents"):
        split_documents([], validation_fraction=0.0, test_fraction=0.0)
    for fractions in [(0.5, 0.5), (-0.1, 0.1), (0.1, 1.0)]:
        with pytest.raises(ValueError, match=f"got {fractions[0]} and {fractions[1]}"):
            split_documents(TEXTS, validation_fraction=fractions[0], test_fraction=fractions[1])


def test_fingerprint_sees_order_boundaries_and_text():
    prints = {corpus_fingerprint(documents) for documents in (["a", "b"], ["b", "a"], ["ab"], [])}
    assert len(prints) == 4


def test_lines_are_documents_of_their_own(tmp_path):
    (tmp_path / "a.txt").write_text("one  two\n\nthree\n  \none two\n")
    assert load_documents(str(tmp_path), by_line=True) == ["one two", "three"]
