"""Every config builds, and its smoke variant trains for real."""

import functools
import io
import json
import random
from pathlib import Path

import matplotlib.image
import pytest
from rich.console import Console

from configs.defaults import get_defaults, parse_arg
from hopfield_attn.data import corpus
from hopfield_attn.nn.heads import parse_heads
from hopfield_attn.train import main
from hopfield_attn.train.config_checks import check_train_config
from hopfield_attn.train.logging import read_metrics
from tests.models.tiny_bert import CONFIG, write_folder
from tests.scripts import load_script

CONFIGS = {
    path.stem: path
    for path in sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.py"))
    if "def get_config(" in path.read_text(encoding="utf-8")
}


def get(name, arg=None):
    get_config = load_script(CONFIGS[name]).get_config
    return get_config() if arg is None else get_config(arg)


def keys_of(tree, parents=""):
    for key, value in tree.items():
        yield parents + key
        if isinstance(value, dict):
            yield from keys_of(value, f"{parents}{key}.")


@pytest.fixture(scope="module", autouse=True)
def _embedded_text_is_read_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "embedded_documents", functools.cache(corpus.embedded_documents))
        yield


@pytest.fixture(scope="module")
def glue_folder(tmp_path_factory):
    """An SST-2 of 40 and 20 rows."""
    folder = tmp_path_factory.mktemp("glue")
    rng = random.Random(0)
    stems = ("walk", "sing", "read", "glow", "turn", "play", "rest", "light", "wind", "paint")
    words = [stem + end for stem in stems for end in ("", "s", "ing", "ed")]
    (folder / "SST-2").mkdir()
    for split, num_rows in (("train", 40), ("dev", 20)):
        rows = [f"{' '.join(rng.choices(words, k=8))}\t{i % 2}" for i in range(num_rows)]
        (folder / "SST-2" / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    return folder


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def question_folder(tmp_path_factory):
    """BoolQ, SQuAD, QuALITY and ContractNLI of a dozen rows, side by side."""
    folder = tmp_path_factory.mktemp("questions")
    rng = random.Random(1)
    stems = ("walk", "sing", "read", "glow", "turn", "play", "rest", "light", "wind", "paint")
    words = [stem + end for stem in stems for end in ("", "s", "ing", "ed")]
    texts = [" ".join(rng.choices(words, k=30)) for _ in range(12)]
    pairs = [{"question": t[:30], "passage": t, "label": len(t) % 2 == 0} for t in texts]
    qas = [{"question": t[:20], "answers": [{"text": t[5:9], "answer_start": 5}]} for t in texts]
    paragraphs = [
        {"context": text, "qas": [{"id": str(k), **entry}]}
        for k, (text, entry) in enumerate(zip(texts, qas, strict=True))
    ]
    articles = [
        {
            "article": text,
            "questions": [
                {"question": "what?", "options": text.split()[:4], "gold_label": 2, "difficult": 1}
            ],
        }
        for text in texts
    ]
    contracts = [{"input": f"{text[:20]}\n\n{text}", "output": "Entailment"} for text in texts]
    for split in ("train", "validation"):
        write_lines(folder / "contract_nli" / f"{split}.jsonl", contracts)
    for split, other in (("train", "train"), ("val", "dev")):
        write_lines(folder / "BoolQ" / f"{split}.jsonl", pairs)
        write_lines(folder / f"{other}.jsonl", articles)
        write_lines(folder / f"{other}-v1.1.json", [{"data": [{"paragraphs": paragraphs}]}])
    return folder


@pytest.mark.core
def test_the_configs_of_the_readme_are_there():
    assert {"quickstart", "mlm", "glue", "finetune", "synthetic"} <= CONFIGS.keys()
    assert {"superglue", "squad", "quality", "scrolls"} <= CONFIGS.keys()


@pytest.mark.core
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("arg", [None, "", "smoke"])
def test_config_has_the_keys_of_the_defaults_and_no_other(name, arg):
    config = get(name, arg)
    assert config.is_locked
    assert set(keys_of(config.to_dict())) == set(keys_of(get_defaults().to_dict()))
    assert isinstance(config.seed, int)
    with pytest.raises(AttributeError):
        config.train.nun_steps = 3


@pytest.mark.core
@pytest.mark.parametrize("name", CONFIGS)
def test_settings_of_a_config_fit_together(name):
    for arg in ("", "smoke"):
        config = get(name, arg)
        check_train_config(config)
        heads = parse_heads(config.model.heads, num_heads=config.model.num_heads)
        assert config.model.width % config.model.num_heads == 0
        if config.baseline_heads:
            baseline = parse_heads(config.baseline_heads, num_heads=config.model.num_heads)
            assert baseline != heads
        # A run that is watched and can be stopped.
        assert config.train.log_every < config.train.num_steps
        assert config.train.checkpoint_every < config.train.num_steps


@pytest.mark.core
@pytest.mark.parametrize("name", CONFIGS)
def test_smoke_variant_is_the_same_run_but_small(name):
    config, smoke = get(name), get(name, "smoke")
    assert smoke.train.num_steps <= 20
    for key in ("task", "baseline_heads"):
        assert smoke[key] == config[key]
    for key in ("norm", "pooling", "coupling", "num_steps", "lam", "alpha_init"):
        assert smoke.model[key] == config.model[key]


@pytest.mark.core
@pytest.mark.parametrize("name", CONFIGS)
def test_config_says_how_it_is_run(name):
    lines = (load_script(CONFIGS[name]).__doc__ or "").splitlines()
    assert lines[0].endswith(".")
    assert any(line.startswith("Command:") for line in lines)
    assert any(line.startswith("Smoke:") for line in lines)


@pytest.mark.core
@pytest.mark.parametrize("name", CONFIGS)
def test_word_that_a_config_does_not_know_is_refused(name):
    with pytest.raises(ValueError, match="after the colon; got 'smoek'"):
        get(name, "smoek")


@pytest.mark.core
def test_words_after_the_colon_are_flags_and_values():
    parsed = parse_arg("task=rte, smoke", task="sst2", smoke=False)
    assert (parsed.task, parsed.smoke) == ("rte", True)
    parsed = parse_arg("", task="sst2", smoke=False)
    assert (parsed.task, parsed.smoke) == ("sst2", False)
    for bad in ("task", "smoke=1", "size=3"):
        with pytest.raises(ValueError, match=rf"takes task=sst2, smoke .*got '{bad}'"):
            parse_arg(bad, task="sst2", smoke=False)


@pytest.mark.core
def test_defaults_are_fresh_every_time():
    config = get_defaults()
    config.model.width = 3
    assert get_defaults().model.width == 128
    # Values that are None by default take a number from the command line.
    config.model.step_size = 0.5
    with pytest.raises(TypeError):
        config.model.step_size = "fast"


# CI runs the quickstart's as a command.
LONG = ("quickstart", "mlm", "superglue", "squad")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in CONFIGS]
)
def test_smoke_variant_trains_for_real(name, glue_folder, question_folder, tmp_path):
    config = get(name, "smoke")
    if config.task == "glue":
        config.data.dir = str(glue_folder)
    elif config.task in ("superglue", "qa", "quality", "scrolls"):
        config.data.dir = str(question_folder)
    if config.model.pretrained:
        # As many heads and layers as MiniLM has, which the config is made for.
        sizes = {"num_attention_heads": 12, "num_hidden_layers": 6}
        sizes |= {"hidden_size": 24, "intermediate_size": 48}
        folder = write_folder(tmp_path / "bert", config=CONFIG | sizes)
        config.model.pretrained = str(folder)
    console = Console(file=io.StringIO(), width=200)
    tmp_path = tmp_path / "run"
    result = main.run(config, tmp_path, console=console)
    assert result == json.loads((tmp_path / "result.json").read_text())
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads(config.to_json())
    assert result["num_steps"] == config.train.num_steps
    assert result["main_metric"] in next(iter(result["evaluations"].values()))
    steps = range(config.train.log_every, config.train.num_steps + 1, config.train.log_every)
    assert [row["step"] for row in read_metrics(tmp_path)] == list(steps)
    if config.baseline_heads:
        assert_is_compared(tmp_path, result)


def assert_is_compared(folder, result):
    baseline = json.loads((folder / "baseline" / "result.json").read_text())
    assert baseline["num_parameters"] == result["num_parameters"]
    assert baseline["baselines"] == result["baselines"]
    steps, others = (
        [row["step"] for row in read_metrics(f)] for f in (folder, folder / "baseline")
    )
    assert steps == others
    height, width, _ = matplotlib.image.imread(folder / "comparison.png").shape
    assert 800 <= width <= 4000
    assert 300 <= height <= 2000
    assert json.loads((folder / "head_energies.json").read_text())
