"""A run says which commit it was made with."""

import shutil
import subprocess

import pytest

from hopfield_attn.train import source_commit as source_commit_module
from hopfield_attn.train.source_commit import source_commit

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit of one package."""
    root = tmp_path / "checkout"
    (root / "package").mkdir(parents=True)
    (root / "package" / "code.py").write_text("x = 1\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    git(root, *author, "commit", "-q", "-m", "one")
    return root


def git(folder, *arguments):
    done = subprocess.run(
        ["git", "-C", folder, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_commit_of_a_checkout(repository):
    commit = git(repository, "rev-parse", "HEAD")
    assert len(commit) == 40 and source_commit(repository / "package") == commit


def test_changed_files_are_told_and_new_ones_are_not(repository):
    (repository / "notes.txt").write_text("untracked")
    assert "changes" not in source_commit(repository / "package")
    (repository / "package" / "code.py").write_text("x = 2\n")
    commit = git(repository, "rev-parse", "HEAD")
    assert source_commit(repository / "package") == f"{commit} with changes"


def test_changes_that_git_cannot_tell_are_unknown(repository, monkeypatch):
    (repository / ".git" / "index").write_bytes(b"no index")
    commit = git(repository, "rev-parse", "HEAD")
    # Without its index git knows no file; say that it knew this one.
    ask = source_commit_module._git
    monkeypatch.setattr(
        source_commit_module, "_git", lambda *a: "code.py" if a[1] == "ls-files" else ask(*a)
    )
    assert source_commit(repository / "package") == f"{commit} with unknown changes"


def test_an_installed_copy_is_no_commit_of_the_repository_around_it(repository):
    inside = repository / "environment" / "package"
    inside.mkdir(parents=True)
    assert source_commit(inside) is None
    # Not even directly below the root, where git doesn't know it.
    (repository / "other").mkdir()
    assert source_commit(repository / "other") is None


def test_no_repository_and_no_git(tmp_path, repository, monkeypatch):
    (tmp_path / "package").mkdir()
    assert source_commit(tmp_path / "package") is None
    monkeypatch.setenv("PATH", "")
    assert source_commit(repository / "package") is None
