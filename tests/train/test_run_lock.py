"""One writer a run folder: the second is refused at once, and who is dead keeps nobody out."""

import errno
import fcntl
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hopfield_attn.train import main, run_lock
from hopfield_attn.train.run_lock import LOCK_FILE, RunFolderInUse, locked, refuse_if_locked

REPOSITORY = Path(__file__).resolve().parents[2]
HOLDER = """
import pathlib, runpy, sys, time
with runpy.run_path(sys.argv[1])["locked"](pathlib.Path(sys.argv[2])):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of ``tmp_path``."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, run_lock.__file__, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


@pytest.mark.core
def test_processes_that_only_look_do_not_refuse_each_other(tmp_path):
    # As a killed process leaves it.
    (tmp_path / LOCK_FILE).write_text("1 elsewhere\n")
    with (tmp_path / LOCK_FILE).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        refuse_if_locked(tmp_path)


@pytest.mark.core
def test_second_writer_is_refused_by_pid_and_host_until_the_first_is_killed(holder, tmp_path):
    who = f"{tmp_path} is in use: process {holder.pid} on host {socket.gethostname()} writes there"
    for _ in range(2):
        with pytest.raises(RunFolderInUse) as refused, locked(tmp_path):
            pass
        assert str(refused.value) == who
        with pytest.raises(RunFolderInUse, match=re.escape(who)):
            refuse_if_locked(tmp_path)
    assert (tmp_path / LOCK_FILE).read_text() == f"{holder.pid} {socket.gethostname()}\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    # The file of a killed process is there, and in nobody's way.
    assert (tmp_path / LOCK_FILE).exists()
    refuse_if_locked(tmp_path)
    with locked(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()} {socket.gethostname()}\n"
        with pytest.raises(RunFolderInUse):
            refuse_if_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.core
def test_holder_on_another_host_is_said_to_be_there(holder, tmp_path):
    (tmp_path / LOCK_FILE).write_text("12 far-away\n")
    with pytest.raises(RunFolderInUse, match=r"process 12 on host far-away \(another host\)"):
        refuse_if_locked(tmp_path)
    (tmp_path / LOCK_FILE).write_text("")
    with pytest.raises(RunFolderInUse, match="another process has just begun"):
        refuse_if_locked(tmp_path)


@pytest.mark.core
def test_lock_file_that_was_removed_while_it_was_opened_is_opened_again(tmp_path, monkeypatch):
    original, removed = run_lock._lock, []

    def lock(descriptor, path, kind):
        if not removed:
            path.unlink()
            removed.append(path)
        original(descriptor, path, kind)

    monkeypatch.setattr(run_lock, "_lock", lock)
    with locked(tmp_path):
        assert removed
        with pytest.raises(RunFolderInUse):
            refuse_if_locked(tmp_path)


@pytest.fixture
def no_flock(monkeypatch):
    def fail(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_lock.fcntl, "flock", fail)


@pytest.mark.core
def test_without_flock_a_process_that_may_be_running_is_believed(no_flock, tmp_path):
    path, here = tmp_path / LOCK_FILE, socket.gethostname()
    path.write_text(f"{os.getppid()} {here}\n")
    message = "no flock on this file system, and a process with this number runs here"
    with pytest.raises(RunFolderInUse, match=f"{message}: .* delete {path}"):
        refuse_if_locked(tmp_path)
    path.write_text("1 far-away\n")
    with (
        pytest.raises(RunFolderInUse, match=r"far-away \(another host\).*it is not seen from here"),
        locked(tmp_path),
    ):
        pass
    assert path.read_text() == "1 far-away\n"


@pytest.mark.core
def test_without_flock_a_process_that_is_gone_is_not_believed(no_flock, tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    (tmp_path / LOCK_FILE).write_text(f"{gone.pid} {socket.gethostname()}\n")
    with locked(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text().startswith(f"{os.getpid()} ")


@pytest.mark.core
def test_error_of_the_file_system_is_not_taken_for_a_lock(monkeypatch, tmp_path):
    def fail(descriptor, operation):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(run_lock.fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error"), locked(tmp_path):
        pass


@pytest.mark.core
def test_second_command_ends_at_once_without_jax_and_in_one_line(holder, tmp_path):
    program = """
import runpy, sys
main = runpy.run_path(sys.argv[1])["main"]
print(main(["train.py", *sys.argv[2:]]), "jax" in sys.modules)
"""
    config = f"--config={REPOSITORY}/configs/synthetic.py:smoke"
    script = str(REPOSITORY / "scripts" / "train.py")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, script, config, f"--workdir={tmp_path}"],
        capture_output=True,
        text=True,
        check=True,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"the second command ended after {wall:.2f} s, {seconds:.2f} s of them computing")
    assert done.stdout == "1 False\n"
    assert re.fullmatch(rf"error: .* process {holder.pid} on host \S+ writes there\n", done.stderr)
    # Of the processor, which other processes may keep busy.
    assert seconds < 1


@pytest.mark.parametrize("name", ["", "baseline"])
def test_run_and_its_baseline_are_locked(name, make_config, tmp_path, quiet, monkeypatch):
    trained = []
    monkeypatch.setattr(main, "train", lambda config, *_, **__: trained.append(config.model.heads))
    config = make_config({"baseline_heads": "identity"})
    (tmp_path / name).mkdir(exist_ok=True)
    with locked(tmp_path / name), pytest.raises(RunFolderInUse, match=str(tmp_path / name)):
        main.run(config, tmp_path, console=quiet)
    assert trained == [config.model.heads] * (name == "baseline")
    assert not (tmp_path / name / "config.json").exists()
    # Who was refused has let go.
    refuse_if_locked(tmp_path)
