"""Every reader of the library with a valid file, for the tests that spoil the file."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from configs.command_line import UsageError, load_config
from configs.defaults import get_defaults
from experiments.finished_run import read_finished
from hopfield_attn.data.corpus import load_documents
from hopfield_attn.data.glue import read_glue
from hopfield_attn.data.quality import read_quality
from hopfield_attn.data.scrolls import read_scrolls, read_scrolls_pairs
from hopfield_attn.data.squad import read_squad
from hopfield_attn.data.superglue import read_superglue
from hopfield_attn.data.superglue_tasks import SUPERGLUE_TASKS
from hopfield_attn.data.tokenizer import encode_texts, load_tokenizer, train_tokenizer, word_starts
from hopfield_attn.data.tsv import read_table
from hopfield_attn.models.bert_folder import read_bert_folder, read_bert_tokenizer
from hopfield_attn.models.pretrained import load_pretrained
from hopfield_attn.train.checksums import record_arrays, records_to_json
from hopfield_attn.train.history import EvaluationHistory
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.report_run import write_report
from hopfield_attn.train.run_files import read_result
from hopfield_attn.train.run_folder import holds_run
from hopfield_attn.train.sweep.summary import SweepRun, summarise
from hopfield_attn.train.whole_checkpoint import DamagedCheckpoint, read_records
from tests.data.test_long_documents import ARTICLE
from tests.data.test_squad import CONTEXT, ENTRY, OPEN
from tests.data.test_superglue import ONE_ROW
from tests.models.tiny_bert import CONFIG, random_tensors, shapes
from tests.scripts import load_script

ROOT = Path(__file__).resolve().parents[1]


class Reader(NamedTuple):
    """A reader, and what it reads.

    Attributes:
      file: the name of the file that is spoilt.
      valid: its content.
      read: folder → what was read.
      beside: further files, whole.
      error: what a file that is refused raises; nothing above or below it.
      names: what the message says of where; "" is the file's own name, None its folder.
    """

    file: str
    valid: bytes
    read: Callable[[Path], Any]
    beside: dict[str, bytes] = {}
    error: type[Exception] = ValueError
    names: str | None = ""


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def as_lines(*rows: Any) -> bytes:
    return b"".join(as_json(row) + b"\n" for row in rows)


def glue(task: str, file: str, text: str, **options: Any) -> Reader:
    split = Path(file).stem
    return Reader(file, text.encode(), lambda folder: read_glue(folder, task, split, **options))


def superglue(task: str) -> Reader:
    row = ONE_ROW[task][0]
    file = f"{SUPERGLUE_TASKS[task].folder}/val.jsonl"
    return Reader(file, as_lines(row, row), lambda folder: read_superglue(folder, task, "val"))


def squad(version: str, file: str, *entries: Any) -> Reader:
    data = {"data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": [*entries]}]}]}
    return Reader(file, as_json(data), lambda folder: read_squad(folder, version, "dev"))


def data_readers() -> dict[str, Reader]:
    scrolls = as_lines(
        {"id": "7", "pid": "7_0", "input": "Is it?\n\nIt is.", "output": "Entailment"}
    )
    text = "One paragraph\nof two lines.\n\nAnother one, with λ.\n".encode()
    return {
        "a table": Reader(
            "a.tsv", b"text\tlabel\nfine\t1\nbad\t0\n", lambda folder: read_table(folder / "a.tsv")
        ),
        "SST-2": glue("sst2", "SST-2/dev.tsv", "sentence\tlabel\nfine \t1\nbad\t0\n"),
        "SST-2, one bad row": glue(
            "sst2", "SST-2/dev.tsv", "sentence\tlabel\nfine \t1\nbad\t0\n", max_bad_rows=1
        ),
        "SST-2, test": glue("sst2", "SST-2/test.tsv", "index\tsentence\n0\tfine\n1\tbad\n"),
        "CoLA": glue(
            "cola", "CoLA/train.tsv", "gj04\t1\t\tOur friends came.\ngj04\t0\t*\tUs did.\n"
        ),
        "STS-B": glue(
            "stsb", "STS-B/dev.tsv", "sentence1\tsentence2\tscore\na b\tc d\t4.25\ne\tf\t0\n"
        ),
        "MNLI": glue(
            "mnli",
            "MNLI/dev_matched.tsv",
            "sentence1\tsentence2\tgold_label\na\tb\tneutral\nc\td\t-\n",
        ),
        **{f"SuperGLUE {task}": superglue(task) for task in SUPERGLUE_TASKS},
        "SQuAD 1.1": squad("squad", "dev-v1.1.json", ENTRY),
        "SQuAD 2.0": squad("squad_v2", "dev-v2.0.json", ENTRY, OPEN),
        "QuALITY": Reader(
            "dev.jsonl", as_lines(ARTICLE, ARTICLE), lambda folder: read_quality(folder, "dev")
        ),
        "SCROLLS": Reader(
            "qasper/train.jsonl", scrolls, lambda folder: read_scrolls(folder, "qasper", "train")
        ),
        "SCROLLS, classes": Reader(
            "contract_nli/train.jsonl",
            scrolls,
            lambda folder: read_scrolls_pairs(folder, "contract_nli", "train"),
        ),
        "text": Reader("a.txt", text, lambda folder: load_documents(str(folder / "a.txt"))),
        "text by lines": Reader(
            "a.txt", text, lambda folder: load_documents(str(folder / "a.txt"), by_line=True)
        ),
    }


def use_tokenizer(tokenizer: Any) -> Any:
    ids = encode_texts(tokenizer, ["The cat sat.", "\x00 λ \u2028"])
    starts = word_starts(tokenizer)
    assert all(0 <= index < len(starts) for row in ids for index in row)
    return ids


def model_readers() -> dict[str, Reader]:
    config = CONFIG | {"vocab_size": 6, "hidden_size": 4, "num_attention_heads": 2}
    config |= {"intermediate_size": 4, "num_hidden_layers": 1, "max_position_embeddings": 3}
    tensors = random_tensors(shapes(config))
    weights = safetensors.numpy.save(tensors)
    vocabulary = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\n"
    own = {"layer_heads": ["quadratic:1,identity:1"], "coupling": "pooled", "lam": 1.0}
    own |= {"num_steps": 2, "step_size": None, "gain": None}
    files = {"config.json": as_json(config), "model.safetensors": weights, "vocab.txt": vocabulary}

    def without(name: str) -> dict[str, bytes]:
        return {other: content for other, content in files.items() if other != name}

    def bert(name: str, valid: bytes | None = None) -> Reader:
        # What does not fit may be the fault of either file.
        return Reader(name, valid or files[name], load, without(name), names=None)

    def load(folder: Path) -> Any:
        return load_pretrained(folder).encoder.tokens.embedding[...]

    return {
        "config.json of a BERT": bert("config.json"),
        "config.json with heads": bert("config.json", as_json(config | {"hopfield_attn": own})),
        "model.safetensors": bert("model.safetensors"),
        "index of model.safetensors": Reader(
            "model.safetensors.index.json",
            as_json({"weight_map": {name: "a.safetensors" for name in tensors}}),
            lambda folder: list(read_bert_folder(folder).tensors),
            {"config.json": files["config.json"], "a.safetensors": weights},
        ),
        "vocab.txt": Reader(
            "vocab.txt", vocabulary, lambda folder: use_tokenizer(read_bert_tokenizer(folder))
        ),
        "tokenizer_config.json": Reader(
            "tokenizer_config.json",
            as_json({"do_lower_case": True, "strip_accents": None, "model_max_length": 512}),
            lambda folder: use_tokenizer(read_bert_tokenizer(folder)),
            {"vocab.txt": vocabulary},
        ),
        "tokenizer.json": Reader(
            "tokenizer.json",
            train_tokenizer(["low lower"] * 2, vocab_size=264).to_str().encode(),
            lambda folder: use_tokenizer(load_tokenizer(folder / "tokenizer.json")),
        ),
    }


def experiment(name: str) -> ModuleType:
    """The collect.py of an experiment."""
    return load_script(f"experiments/{name}/collect.py")


def run_readers() -> dict[str, Reader]:
    config = get_defaults()
    config.task = "synthetic"
    metrics = [
        {"step": step, "loss": loss, "loss_hex": "0x1.8p+0", "grad_norm": 0.5, "skipped_steps": 0}
        for step, loss in ((1, 1.5), (2, None), (3, 1.25))
    ]
    evaluations = [
        {"step": 2, "validation/accuracy": 0.5},
        {"step": 4, "validation/accuracy": 0.75},
    ]
    result = {
        "evaluations": {
            "dev": {"accuracy": 0.5, "matthews_correlation": 0.25},
            "test": {"f1": None},
        },
        "baselines": {"chance_accuracy": 0.5},
        "main_metric": "accuracy",
        "num_parameters": 1234,
        "num_steps": 12,
        "wall_seconds": 3.5,
        "tokens_per_second": None,
        "peak_memory_mib": 99.5,
        "alpha": [{"layer": 1, "head": 2, "family": "quadratic", "alpha": -0.25}],
        "history": evaluations,
        "data": {"num_train_examples": 64, "bad_rows": []},
    }
    files = {
        "config.json": config.to_json().encode(),
        "versions.json": as_json({"python": "3.11", "devices": ["cpu"], "jax": "0.10"}),
        "metrics.jsonl": as_lines(*metrics),
        "evaluations.jsonl": as_lines(*evaluations),
        "result.json": as_json(result),
    }
    glue_experiment = experiment("01_glue_nonlinear_heads")

    def report(folder: Path) -> str:
        page = write_report(config, folder).read_text(encoding="utf-8")
        assert "<script>alert" not in page and "nan" not in page.split("</style>")[1]
        return page

    def summary(folder: Path) -> Any:
        found = read_result(folder)
        return summarise(
            [SweepRun(name="a", setting={"a": k}, seed=0, result=found) for k in (1, 2)]
        )

    def in_folder(name: str, read: Callable[[Path], Any], **options: Any) -> Reader:
        beside = {other: content for other, content in files.items() if other != name}
        return Reader(name, files[name], read, beside, **options)

    def collected(folder: Path) -> Any:
        return glue_experiment.row(folder, glue_experiment.TASKS["cola"])

    checksums = records_to_json(record_arrays({"step": np.int32(3), "w": np.ones(2)}))
    return {
        "config.json of a run, by a command": in_folder(
            "config.json", lambda folder: load_config(str(folder / "config.json")), error=UsageError
        ),
        "config.json of a run, compared": in_folder(
            "config.json", lambda folder: holds_run(folder, config), names="config"
        ),
        "metrics.jsonl": in_folder("metrics.jsonl", read_metrics),
        "evaluations.jsonl": in_folder(
            "evaluations.jsonl",
            lambda folder: EvaluationHistory(folder, start_step=10**9).rows,
        ),
        "result.json in a sweep": in_folder("result.json", summary),
        **{f"{name} in a report": in_folder(name, report) for name in files if name[0] != "e"},
        "checksums": Reader(
            "checksums/metadata", as_json(checksums), lambda folder: read_records(folder),
            error=DamagedCheckpoint, names="its checksums",
        ),
        **{
            f"{name} in an experiment": in_folder(name, read)
            for name, read in (
                ("config.json", lambda folder: (read_finished(folder).task, collected(folder))),
                ("result.json", collected),
                ("versions.json", collected),
            )
        },
    }  # fmt: skip


READERS: dict[str, Reader] = data_readers() | model_readers() | run_readers()
