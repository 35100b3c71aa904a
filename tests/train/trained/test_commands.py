"""scripts/evaluate and scripts/predict: what they print, and what they refuse in one line."""

import json
from pathlib import Path

import pytest

from hopfield_attn.data.tsv import read_table
from tests.scripts import load_script

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def run_script(capsys):
    """(name of the script, arguments) → exit code, standard output, standard error."""

    def run_script(name, *arguments):
        module = load_script(f"scripts/{name}.py")
        code = module.main([f"{name}.py", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run_script


def test_evaluation_is_printed_and_written(run_script, sst2):
    code, output, errors = run_script("evaluate", "--workdir", sst2.folder)
    assert (code, errors) == (0, "")
    score = sst2.result["evaluations"]["dev"]["accuracy"]
    assert (
        output == f"dev: accuracy {score:.4f}\nStep 3. Written to {sst2.folder}/evaluation.json\n"
    )
    written = json.loads((sst2.folder / "evaluation.json").read_text())
    assert written["evaluations"] == sst2.result["evaluations"]


def test_sets_and_keys_can_be_chosen(run_script, recall):
    code, output, _ = run_script(
        "evaluate", f"--workdir={recall.folder}", "--set=test", "--config.model.num_steps=1"
    )
    assert code == 0
    assert "test: accuracy" in output and "validation" not in output
    written = json.loads((recall.folder / "evaluation.json").read_text())
    assert written["config_changes"] == {"model.num_steps": 1}


def test_labels_and_scores_of_a_text_are_printed(run_script, sst2, stsb):
    code, output, errors = run_script("predict", f"--workdir={sst2.folder}", "--text=walking")
    assert (code, errors) == (0, "")
    label, *rows = output.splitlines()
    probabilities = {name: float(number) for number, name in map(str.split, rows)}
    assert list(probabilities) == ["negative", "positive"]
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert probabilities[label] == max(probabilities.values())
    code, output, _ = run_script(
        "predict", f"--workdir={stsb.folder}", "--text", "a walk", "--text2", "a rest"
    )
    assert code == 0
    assert output.endswith(" on the scale from 0 to 5\n")
    float(output.split()[0])


def test_five_tokens_for_each_mask_are_printed(run_script, mlm):
    text = "--text=walk [MASK] sings [MASK]"
    code, output, errors = run_script("predict", f"--workdir={mlm.folder}", text)
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert (lines[0], lines[6], len(lines)) == ("[MASK] 1", "[MASK] 2", 12)
    numbers = [float(line.split()[0]) for line in lines[1:6]]
    assert numbers == sorted(numbers, reverse=True)


def test_files_are_written_where_they_are_asked_for(run_script, sst2, tmp_path):
    (tmp_path / "in.tsv").write_text("text\nwalking\nsings\n")
    code, output, errors = run_script(
        "predict",
        f"--workdir={sst2.folder}",
        f"--input={tmp_path}/in.tsv",
        f"--output={tmp_path}/out.tsv",
    )
    assert (code, output, errors) == (0, f"2 predictions in {tmp_path}/out.tsv\n", "")
    assert len(read_table(tmp_path / "out.tsv")[1]) == 2
    code, output, _ = run_script(
        "predict", f"--workdir={sst2.folder}", f"--glue-submission={tmp_path}/glue"
    )
    assert (code, output) == (0, f"7 predictions in {tmp_path}/glue/SST-2.tsv\n")


@pytest.mark.parametrize("name", ["evaluate", "predict"])
def test_help_and_a_missing_folder(run_script, name, tmp_path):
    code, output, errors = run_script(name, "--help")
    assert (code, errors) == (0, "")
    assert f"./scripts/{name} --workdir=DIR" in output
    assert "75 stopped" in output
    text = ["--text=a"] * (name == "predict")
    code, _, errors = run_script(name, *text)
    assert (code, errors) == (2, "error: --workdir=DIR is missing: the folder of a trained run\n")
    code, _, errors = run_script(name, *text, f"--workdir={tmp_path}/none")
    assert code == 2
    assert errors.startswith(f"error: --workdir={tmp_path}/none: there is no run")
    (tmp_path / "config.json").write_text('{"seed": 0}')
    code, _, errors = run_script(name, *text, f"--workdir={tmp_path}", "--config.task=glue")
    assert code == 2
    assert errors.startswith(f"error: {tmp_path}/tokenizer.json: no such tokenizer file")


@pytest.mark.parametrize(
    ("fixture", "name", "arguments", "words"),
    [
        ("sst2", "evaluate", ["--config.modle.num_steps=3"], "did you mean 'model'?"),
        ("sst2", "evaluate", ["--sets=dev"], "Unknown command line flag 'sets'"),
        ("sst2", "evaluate", ["dev"], "unexpected argument 'dev'"),
        ("sst2", "evaluate", ["--set=dve"], "must be one of 'dev'; got 'dve'"),
        ("sst2", "evaluate", ["--config.data.dir=/none"], "/none does not exist"),
        ("sst2", "evaluate", ["--config.model.width=32"], ""),
        ("sst2", "predict", [], "one of --text, --input, --glue-submission says what to predict"),
        ("sst2", "predict", ["--text=a", "--input=b"], "got --text and --input"),
        ("sst2", "predict", ["--text=a", "b"], "unexpected argument 'b'; text is quoted"),
        ("sst2", "predict", ["--text2=a", "--input=b"], "--text2 goes with --text"),
        ("sst2", "predict", ["--text=a", "--output=b"], "--output goes with --input"),
        ("sst2", "predict", ["--input=a"], "--output=FILE.tsv is missing"),
        ("sst2", "predict", ["--text=a", "--text2=b"], "SST-2 takes one sentence; got two"),
        ("stsb", "predict", ["--text=a"], "STS-B takes two sentences; got one"),
        ("mlm", "predict", ["--text=a"], "the text must have a [MASK]"),
        ("mlm", "predict", ["--input=a", "--output=b"], "it takes --text with a [MASK]"),
        ("recall", "predict", ["--text=a"], "a run of task 'synthetic', which takes no text"),
    ],
)
def test_mistakes_are_one_line(fixture, name, arguments, words, run_script, request):
    run = request.getfixturevalue(fixture)
    code, output, errors = run_script(name, f"--workdir={run.folder}", *arguments)
    assert (code, output, len(errors.splitlines())) == (2, "", 1)
    assert errors.startswith("error: ")
    assert words in errors
