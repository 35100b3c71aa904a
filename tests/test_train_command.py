"""The training command: what is wrong is said in one line, at once; exit codes mean something."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from configs.command_line import load_config, load_run_config
from hopfield_attn.energies.nonlinearities import FAMILIES
from hopfield_attn.train import main as train_main
from hopfield_attn.train.interrupt import EXIT_CODE, SIGNALS, Interrupted
from hopfield_attn.train.work import WORK_BEGUN
from tests.scripts import load_script

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPT = REPOSITORY / "scripts" / "train.py"
SYNTHETIC = f"--config={REPOSITORY}/configs/synthetic.py:smoke"


@pytest.fixture(scope="module")
def command():
    """The script as a module, without running it."""
    return load_script(SCRIPT)


@pytest.fixture
def run(command, capsys):
    """(arguments) → exit code, standard output, lines of standard error."""

    def run(*arguments):
        code = command.main(["train.py", *map(str, arguments)])
        output, errors = capsys.readouterr()
        return code, output, errors.splitlines()

    return run


@pytest.fixture
def refused(run, tmp_path):
    """(arguments) → the one line that refuses them; the run folder is not made."""

    def refused(*arguments, workdir=True):
        folder = tmp_path / "run"
        given = [f"--workdir={folder}"] if workdir else []
        code, output, errors = run(*arguments, *given)
        assert code == 2
        assert output == ""
        assert len(errors) == 1, errors
        assert errors[0].startswith("error: ")
        assert not folder.exists()
        return errors[0].removeprefix("error: ")

    return refused


@pytest.mark.core
@pytest.mark.parametrize("option", ["--help", "-h", "-help", "--helpfull"])
def test_help_shows_the_options_and_the_exit_codes(option, run):
    for arguments in ([option], [SYNTHETIC, option, "--config.sed=1"]):
        code, output, errors = run(*arguments)
        assert (code, errors) == (0, [])
        assert "--config=configs/NAME.py[:args]" in output
        assert "75 stopped and can go on" in output


@pytest.mark.core
@pytest.mark.parametrize(
    ("option", "key", "meant"),
    [
        ("--config.sed=1", "sed", "seed"),
        ("--config.model.widht=32", "model.widht", "model.width"),
        ("-config.model.widht=32", "model.widht", "model.width"),
        ("--config.modle.width=32", "modle", "model"),
        ("--config.train.nun_steps=32", "train.nun_steps", "train.num_steps"),
        # A right key in the wrong place.
        ("--config.width=32", "width", "model.width"),
        ("--config.train.learning_rate=1", "train.learning_rate", "optimizer.learning_rate"),
    ],
)
def test_key_that_does_not_exist_is_answered_with_the_one_that_is_meant(
    option, key, meant, refused
):
    message = refused(SYNTHETIC, "--config.seed=3", option)
    name = option.lstrip("-").partition("=")[0]
    assert message == f"--{name}: the config has no key {key!r}; did you mean {meant!r}?"


@pytest.mark.core
def test_key_that_is_like_no_other_is_named(refused):
    assert refused(SYNTHETIC, "--config.zzz=1") == "--config.zzz: the config has no key 'zzz'"
    # Below a value there is nothing.
    assert "no key 'seed.x'" in refused(SYNTHETIC, "--config.seed.x=1")


@pytest.mark.core
@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--config.model.width=abc", "--config.model.width=abc: invalid literal for int"),
        ("--config.model.width=1.5", "--config.model.width=1.5: invalid literal for int"),
        ("--config.model.lam=abc", "--config.model.lam=abc: could not convert string to float"),
        ("--config.model.gain=abc", "--config.model.gain=abc: could not convert string to float"),
        ("--config.model.width=", "--config.model.width"),
        ("--config.model=3", "--config.model=3"),
        ("--config.seed", "--config.seed"),  # takes the next option as its value
        ("--confg.seed=1", "Unknown command line flag 'confg.seed'"),
        ("--seed=1", "Unknown command line flag 'seed'"),
        ("seed=1", "unexpected argument 'seed=1'; options look like --config.seed=1"),
        ("config.seed=1", "unexpected argument 'config.seed=1'"),
    ],
)
def test_option_that_cannot_be_read_is_named(option, words, refused):
    assert words in refused(SYNTHETIC, option)


@pytest.mark.core
def test_config_and_run_folder_have_to_be_given(refused):
    assert "--config=FILE is missing" in refused()
    assert "--workdir=DIR is missing" in refused(SYNTHETIC, workdir=False)
    assert "--workdir=DIR is missing" in refused(SYNTHETIC, "--workdir=", workdir=False)


@pytest.mark.core
@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("missing.py", None, "there is no file"),
        ("missing.json", None, "there is no file"),
        ("broken.py", "x = (", "SyntaxError: '(' was never closed (broken.py, line 1)"),
        ("empty.py", "", "the file must define get_config(arg)"),
        ("other.py", "get_config = lambda arg: {}", "must return a ConfigDict; got dict"),
        ("imports.py", "import no_such_module", "No module named 'no_such_module'"),
        (
            "key.py",
            "from configs.defaults import get_defaults\n"
            "def get_config(arg):\n    config = get_defaults()\n    config.model.widht = 3\n",
            'Did you mean "width"',
        ),
        ("broken.json", '{"seed": 1', "Expecting"),
        ("list.json", "[1]", "the file must hold a JSON object"),
        ("key.json", '{"sed": 1}', "the config has no key 'sed'; did you mean 'seed'?"),
        ("type.json", '{"model": {"width": "wide"}}', "width"),
    ],
)
def test_config_file_that_cannot_be_read_is_named(name, text, words, refused, tmp_path):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    message = refused(f"--config={path}")
    assert message.startswith(f"--config={path}: ")
    assert words in message


@pytest.mark.core
@pytest.mark.parametrize("arg", ["smok", "smoke=1", "smoke,fast", "task=sst2"])
def test_words_after_the_colon_are_checked(arg, refused):
    message = refused(f"--config={REPOSITORY}/configs/quickstart.py:{arg}")
    bad = arg.rpartition(",")[2]
    assert message.endswith(f"the config takes smoke after the colon; got {bad!r}")


@pytest.mark.core
def test_values_of_the_command_line_end_in_the_config(command, tmp_path):
    config, workdir = command.parse_arguments(
        [
            "train.py",
            SYNTHETIC,
            "--config.model.lam=2",
            "--config.model.step_size=0.25",
            "--config.seed",
            "7",
            "--config.model.heads=identity",
            "--workdir=~/runs",
        ]
    )
    assert (config.model.lam, config.model.step_size, config.seed) == (2.0, 0.25, 7)
    assert config.model.heads == "identity"
    assert config.model.gain is None
    assert config.is_locked
    assert workdir == Path.home() / "runs"


@pytest.mark.core
def test_config_of_a_run_folder_is_the_config_of_the_run(command, tmp_path):
    def parse(*arguments):
        return command.parse_arguments(["train.py", *arguments, "--workdir=anywhere"])[0]

    config = parse(SYNTHETIC, "--config.seed=3", "--config.model.gain=0.5")
    path = tmp_path / "config.json"
    path.write_text(config.to_json())
    again = parse(f"--config={path}")
    assert again.to_json() == config.to_json()
    assert again.is_locked
    # Values that are null in the file still have their type.
    changed = parse(f"--config={path}", "--config.model.step_size=0.25", "--config.seed=4")
    assert (changed.model.step_size, changed.seed, changed.model.gain) == (0.25, 4, 0.5)
    # The last of two files counts.
    assert parse(SYNTHETIC, f"--config={path}").seed == 3


@pytest.mark.core
def test_paths_may_have_a_colon(command, tmp_path, refused):
    folder = tmp_path / "heads=quadratic:4"
    folder.mkdir()
    config = command.parse_arguments(["train.py", SYNTHETIC, "--workdir=x"])[0]
    (folder / "config.json").write_text(config.to_json())
    assert load_config(f"{folder}/config.json").to_json() == config.to_json()
    assert load_run_config(str(folder))[0].to_json() == config.to_json()
    shutil.copy(REPOSITORY / "configs" / "synthetic.py", folder)
    for arg, num_steps in (("smoke", 8), ("smoke,task=match2", 8)):
        assert load_config(f"{folder}/synthetic.py:{arg}").train.num_steps == num_steps
    assert f"no file {str(tmp_path / 'heads=linear')!r}" in refused(
        f"--config={tmp_path}/heads=linear:4/config.json"
    )


@pytest.mark.core
def test_mistakes_are_found_without_jax(tmp_path):
    """Importing it takes seconds, which a typo need not cost."""
    program = """
import runpy, sys
main = runpy.run_path(sys.argv[1])["main"]
codes = [main(["train.py", *line.split()]) for line in sys.argv[2:]]
print(codes, "jax" in sys.modules, "hopfield_attn" in sys.modules)
"""
    lines = [f"{SYNTHETIC} --config.sed=1 --workdir=x", f"{SYNTHETIC} --workdir=", "--workdir=x"]
    process = subprocess.run(
        [sys.executable, "-c", program, str(SCRIPT), *lines],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert process.stdout == "[2, 2, 2] False False\n"
    assert len(process.stderr.splitlines()) == 3


@pytest.mark.core
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("name", SIGNALS)
def test_signal_while_the_run_is_prepared_ends_it_as_one_that_can_go_on(name, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(f"import os\nos.kill(os.getpid(), {int(name)})\n")
    process = subprocess.run(
        [sys.executable, str(SCRIPT), f"--config={config}", f"--workdir={tmp_path}/run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == EXIT_CODE == os.EX_TEMPFAIL
    assert process.stderr == "Stopped. The same command goes on.\n"


def test_heads_that_do_not_exist_are_answered_with_all_that_do(refused):
    message = refused(SYNTHETIC, "--config.model.heads=identity:2,qadratic:2")
    assert "did you mean 'quadratic'?" in message
    for family in FAMILIES:
        assert repr(family) in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--config.task=mml"], "task must be one of 'mlm', 'glue', 'superglue', 'qa', 'quality'"),
        (["--config.train.batch_size=0"], "batch_size"),
        (["--config.optimizer.decay=cosin"], "did you mean 'cosine'"),
        (["--config.model.width=18"], "width must be divisible by num_heads; got 18 and 4"),
        (["--config.data.num_pairs=99"], "99 pairs need as many distinct keys"),
        (["--config.task=glue", "--config.data.task=sst2"], "data.dir must name the folder"),
        (["--config.task=quality"], "data.dir must name the folder"),
        (["--config.task=mlm", "--config.data.source=/no/such.txt"], "/no/such.txt"),
    ],
)
def test_value_that_no_run_can_have_is_one_line_too(options, words, run, tmp_path):
    code, _, errors = run(SYNTHETIC, *options, f"--workdir={tmp_path}/run")
    assert code == 2
    (line,) = errors
    assert words in line
    assert line.endswith("(HOPFIELD_DEBUG=1 shows where)")


def test_debugging_shows_the_traceback(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOPFIELD_DEBUG", "1")
    with pytest.raises(ValueError, match="task must be one of"):
        run(SYNTHETIC, "--config.task=mml", f"--workdir={tmp_path}/run")
    (tmp_path / "broken.py").write_text("x = (")
    with pytest.raises(SyntaxError):
        run(f"--config={tmp_path}/broken.py", f"--workdir={tmp_path}/run")


def test_run_folder_that_cannot_be_made_is_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        code, _, errors = run(SYNTHETIC, f"--workdir={tmp_path / folder}")
        assert code == 2
        assert len(errors) == 1
        assert str(tmp_path / "file") in errors[0]


@pytest.mark.core
@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Interrupted(12), 75, "Stopped at step 12, saved. The same command goes on."),
        (KeyboardInterrupt(), 75, "Stopped. The same command goes on."),
        (FloatingPointError("loss is nan\n at step 3"), 1, "error: loss is nan at step 3"),
        (OSError(28, "No space left"), 1, "error: [Errno 28] No space left"),
        (
            ValueError("one\n  two"),
            2,
            "error: one two (HOPFIELD_DEBUG=1 shows where)",
        ),
    ],
)
def test_exit_code_says_how_a_run_ended(error, code, line, run, tmp_path, monkeypatch):
    def fail(config, workdir, **options):
        raise error

    monkeypatch.delenv("HOPFIELD_DEBUG", raising=False)
    monkeypatch.setattr(train_main, "run", fail)
    assert run(SYNTHETIC, f"--workdir={tmp_path}") == (code, "", [line])


@pytest.mark.core
@pytest.mark.parametrize(
    "error", [ValueError("torn"), TypeError("torn"), FileNotFoundError("torn")]
)
def test_error_of_a_run_that_has_made_a_step_is_no_wrong_argument(
    error, run, tmp_path, monkeypatch
):
    def make_a_step_and_fail(config, workdir, **options):
        WORK_BEGUN.set()
        raise error

    monkeypatch.delenv("HOPFIELD_DEBUG", raising=False)
    monkeypatch.setattr(train_main, "run", make_a_step_and_fail)
    line = "error: torn (HOPFIELD_DEBUG=1 shows where)"
    for _ in range(2):
        assert run(SYNTHETIC, f"--workdir={tmp_path}") == (1, "", [line])
    # What another run has done does not count.
    assert run(SYNTHETIC, f"--workdir={tmp_path}", "--config.seed=x")[0] == 2


@pytest.mark.core
def test_run_gets_the_config_and_the_folder(run, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(train_main, "run", lambda *args, traced: given.append((*args, traced)))
    assert run(SYNTHETIC, "--config.seed=5", f"--workdir={tmp_path}/a b") == (0, "", [])
    ((config, workdir, traced),) = given
    assert not traced
    assert (config.seed, config.task, workdir) == (5, "synthetic", tmp_path / "a b")
    assert json.loads(config.to_json())["train"]["num_steps"] == 8


@pytest.mark.core
@pytest.mark.parametrize("steps", ["3", "3:", ":3", "a:b", "5:3", "3:3", "0:3", "-1:3", "3:10"])
def test_steps_that_cannot_be_traced_are_refused_by_name(steps, refused):
    # The smoke run has 8 steps.
    assert refused(SYNTHETIC, f"--profile={steps}") == (
        f"--profile={steps}: must be START:STOP with 1 <= START < STOP <= 9, as the run has the "
        "steps 1 to 8"
    )


@pytest.mark.core
def test_steps_to_trace_are_those_that_were_asked_for(run, refused, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(train_main, "run", lambda *args, traced: given.append(traced))
    for text in ("1:2", "3:9"):
        assert run(SYNTHETIC, f"--profile={text}", f"--workdir={tmp_path}") == (0, "", [])
    assert given == [range(1, 2), range(3, 9)]
    message = refused(SYNTHETIC, "--profile=1:2", "--dry_run")
    assert message == "--profile needs a run: a dry run makes no steps"
