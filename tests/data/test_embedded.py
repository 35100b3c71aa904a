import os
import warnings

from hopfield_attn.data.embedded import flatten_text, read_docstrings, reference_documents

LONG = "word " * 50
# An invalid escape: a SyntaxWarning or DeprecationWarning while parsing.
INVALID_ESCAPE = f'"""{LONG}"""\npattern = "\\d"\n'


def test_docstrings_of_modules_classes_and_functions_are_found_in_file_order(tmp_path):
    (tmp_path / "b.py").write_text(f'"""in b {LONG}"""')
    (tmp_path / "a.py").write_text(
        f'class A:\n  """in A {LONG}"""\n\n  async def f(self):\n    """in f {LONG}"""\n\n'
        'def short():\n  """Too short."""\n'
    )
    found = read_docstrings(tmp_path)
    assert [document[:4] for document in found.documents] == ["in A", "in f", "in b"]
    assert (found.num_files, found.skipped) == (2, [])


def test_test_suites_and_installed_packages_are_passed_over(tmp_path):
    for folder in ["test", "site-packages", "idlelib", "json"]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "module.py").write_text(f'"""in {folder} {LONG}"""')
    (document,) = read_docstrings(tmp_path).documents
    assert document.startswith("in json")


def test_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    for name in ["b/d.py", "b/c.py", "a/f.py", "e.py"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'"""{name} {LONG}"""')
    expected = read_docstrings(tmp_path)
    walk = os.walk

    def reversed_walk(root):
        for folder, subfolders, names in walk(root):
            subfolders.sort(reverse=True)
            yield folder, subfolders, sorted(names, reverse=True)

    monkeypatch.setattr(os, "walk", reversed_walk)
    assert read_docstrings(tmp_path) == expected
    order = [document.split()[0] for document in expected.documents]
    assert order == ["e.py", "a/f.py", "b/c.py", "b/d.py"]


def test_file_that_is_not_python_is_counted_and_harms_no_other(tmp_path):
    (tmp_path / "a.py").write_bytes(b"print 'python 2'")
    (tmp_path / "b.py").write_bytes(b'"""\x00"""')
    (tmp_path / "c.py").write_bytes(b'"""\xff"""')
    (tmp_path / "d.py").write_text(f'"""{LONG}"""')
    found = read_docstrings(tmp_path)
    assert found.skipped == ["a.py", "b.py", "c.py"]
    assert found.documents == [LONG.strip()]


def test_warning_while_parsing_does_not_drop_the_file(tmp_path):
    (tmp_path / "a.py").write_text(INVALID_ESCAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_docstrings(tmp_path)
    assert (found.num_files, found.skipped) == (1, [])


def test_reference_has_the_topics_of_the_help_command_without_underlines():
    documents = reference_documents()
    assert len(documents) > 70
    assert any(document.startswith('The "while" statement The "while"') for document in documents)
    assert not any("****" in document or "====" in document for document in documents)


def test_flattening_keeps_short_punctuation_and_words():
    assert flatten_text("a...  b == c\n====\n  d____e") == "a... b == c d____e"
