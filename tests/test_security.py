"""No file that is read is a program, and Python, HTML and terminals obey no text of one."""

import ast
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from rich.console import Console

from configs.command_line import UsageError, load_config
from experiments.finished_run import read_finished
from hopfield_attn.models.bert_folder import read_bert_folder
from hopfield_attn.models.pretrained import load_pretrained
from hopfield_attn.train.logging import Reporter
from hopfield_attn.train.report_run import write_report
from scripts.exit_codes import run_command
from tests.readers import READERS
from tests.test_fuzz_readers import cpu_limit, write
from tests.test_layering import FORBIDDEN, is_under

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("hopfield_attn", "configs", "scripts", "experiments", "examples")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
# Archives: tar follows links out of its folder before Python 3.14.
MODULES = [*FORBIDDEN, "tarfile", "zipfile", "yaml"]
CALLS = {
    *("eval", "exec", "np.load", "numpy.load", "jnp.load", "torch.load", "os.system", "os.popen"),
    *("shutil.unpack_archive", "pd.read_pickle"),
}
ESCAPES = "\x1b[2J\x07\x9b31m\u202e"
SCRIPT = "<script>alert(1)</script>"


def unsafe_parts(text):
    """Imports and calls of a source that open programs, archives or a shell."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call):
            found += [name for name in [ast.unparse(node.func)] if name in CALLS]
            found += [
                f"{word.arg}=True"
                for word in node.keywords
                if word.arg in ("shell", "allow_pickle", "trust_remote_code")
                and ast.unparse(word.value) != "False"
            ]
        found += [name for name in names for module in MODULES if is_under(name, module)]
    return found


def test_nothing_opens_a_pickle_an_archive_or_a_shell():
    assert len(SOURCES) > 150
    found = {path: unsafe_parts(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: parts for path, parts in found.items() if parts} == {}


def test_what_the_check_looks_for_is_found():
    text = """
import pickle, tarfile
from zipfile import ZipFile
np.load(path, allow_pickle=flag); eval(text); subprocess.run(command, shell=True)
"""
    expected = ["allow_pickle=True", "eval", "np.load", "pickle", "shell=True", "tarfile"]
    assert sorted(unsafe_parts(text)) == [*expected, "zipfile.ZipFile"]


class Program:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def pickled_weights(kind, program):
    """Weights in a format that can hold a program."""
    if kind.isdecimal():
        return pickle.dumps(program, protocol=int(kind))
    content = io.BytesIO()
    array = np.array([program], dtype=object)
    (np.save if kind == "npy" else np.savez)(content, array, allow_pickle=True)
    return content.getvalue()


@pytest.fixture
def bert(tmp_path):
    """A folder with a tiny BERT."""
    reader = READERS["model.safetensors"]
    write(tmp_path, reader.beside | {reader.file: reader.valid})
    return tmp_path


@pytest.mark.parametrize("kind", ["0", "2", "4", "5", "npy", "npz"])
def test_a_pickle_in_the_place_of_weights_is_not_opened(kind, bert):
    left = bert / "was here"
    (bert / "model.safetensors").write_bytes(pickled_weights(kind, Program(left)))
    with pytest.raises(ValueError, match="model.safetensors: not a safetensors file") as caught:
        load_pretrained(bert)
    assert not left.exists()
    # The oldest pickles have no signature.
    assert kind == "0" or "may hold a program and is not opened" in str(caught.value)
    pickle.loads(pickle.dumps(Program(left)))
    assert left.exists()


def test_weights_outside_their_folder_are_not_read(bert):
    (bert / "model.safetensors").rename(bert.parent / "outside.safetensors")
    for name in ("../outside.safetensors", str(bert.parent / "outside.safetensors"), "", "."):
        index = {"weight_map": {"pooler.dense.bias": name}}
        (bert / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(FileNotFoundError, match=r"index.json: lists .* not beside it"):
            read_bert_folder(bert)


@pytest.mark.parametrize(
    "key", ["vocab_size", "max_position_embeddings", "num_hidden_layers", "intermediate_size"]
)
def test_nothing_is_made_of_a_size_that_only_the_config_claims(key, bert):
    config = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps(config | {key: 10**12}))
    with pytest.raises(ValueError, match="is missing|has shape"), cpu_limit(10):
        load_pretrained(bert)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value, bert):
    tensors = read_bert_folder(bert).tensors
    tensors = {name: array.copy() for name, array in tensors.items()}
    tensors["encoder.layer.0.output.dense.bias"][2] = value
    safetensors.numpy.save_file(tensors, bert / "model.safetensors")
    with pytest.raises(ValueError, match=r"layer.0.output.dense.bias has values .* not finite"):
        load_pretrained(bert)


PROGRAMS = [
    "__import__('pathlib').Path('LEFT').touch()",
    "!!python/object/apply:os.system ['touch LEFT']",
    "${LEFT}$(touch LEFT)`touch LEFT`",
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_config_of_a_run_executes_nothing(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"data": {"source": program}, "task": program}))
    config = load_config(str(path))
    assert (config.data.source, config.task) == (program, program)
    path.write_text("import pathlib; pathlib.Path('LEFT').touch()\ndef get_config(arg): ...\n")
    with pytest.raises(UsageError, match="config.json: Expecting value"):
        load_config(str(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.json"]


def test_a_run_cannot_choose_where_its_results_are_collected(tmp_path):
    reader = READERS["config.json in an experiment"]
    config = json.loads(reader.valid) | {"task": "../../outside"}
    write(tmp_path, reader.beside | {"config.json": json.dumps(config).encode()})
    with pytest.raises(ValueError, match="task that is no name: '../../outside'"):
        _ = read_finished(tmp_path).task


def test_text_of_a_file_does_not_reach_the_terminal_as_a_command(capsys):
    def fail(argv):
        raise ValueError(f"a.tsv:3 {ESCAPES}")

    assert run_command(fail, ["command"], help_text="") == 2
    error = capsys.readouterr().err.removesuffix("\n")
    assert error.startswith(r"error: a.tsv:3 \x1b[2J\x07\x9b31m\u202e")
    assert error.isprintable()
    console = Console(file=io.StringIO(), width=40, force_terminal=True)
    # No markup either: a closing tag that was never opened ends rich with an error.
    Reporter("title", console).say(f"[red]{ESCAPES}[/bold] " + "long " * 20)
    line = console.file.getvalue().removesuffix("\n")
    assert line.startswith(r"title: [red]\x1b[2J\x07\x9b31m\u202e[/bold] long long")
    assert line.isprintable()


def test_text_of_a_run_folder_stays_text_in_its_report(tmp_path):
    reader = READERS["config.json in a report"]

    def scripts_in_report(old, new):
        files = reader.beside | {"config.json": reader.valid}
        spoilt = {name: content.replace(old, new) for name, content in files.items()}
        assert old == new or spoilt != files
        write(tmp_path, spoilt)
        config = load_config(str(tmp_path / "config.json"))
        return write_report(config, tmp_path).read_text(encoding="utf-8").lower().count("<script")

    evil = json.dumps(SCRIPT)[1:-1].encode()
    clean = scripts_in_report(b"", b"")
    for old in (b"identity", b"quadratic", b"accuracy", b"test", b"python", b"chance_accuracy"):
        assert scripts_in_report(b'"' + old + b'"', b'"' + evil + b'"') == clean
