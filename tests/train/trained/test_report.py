"""The report of a run: whole, without network, every text escaped, and readable in a browser."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from configs.defaults import get_defaults
from hopfield_attn.analysis.report.attention_view import attention_view
from hopfield_attn.analysis.report.markup import number
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.report_energies import energy_sections
from hopfield_attn.train.report_heads import chosen_heads
from hopfield_attn.train.report_run import _alphas, _curves, _Run, _title, write_report
from hopfield_attn.train.run_files import REPORT_FILE, read_versions
from hopfield_attn.train.trace_example import example_traces
from hopfield_attn.train.trace_text import head_trace, text_traces
from hopfield_attn.train.trained import load_run
from scripts.report import main

EVIL = '<script>alert("walk")</script> & "sing"'
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def run(train_run, mlm):
    """A masked-language model with non-linear heads, beside a linear one."""
    return train_run(
        {
            "task": "mlm",
            "data.source": mlm.config.data.source,
            "data.validation_fraction": 0.1,
            "data.test_fraction": 0.1,
            "model.heads": "identity:1,log_cosh:1",
            "model.alpha_init": 0.3,
        }
    )


@pytest.fixture(scope="module")
def report(run, mlm):
    return write_report(run.config, run.folder, compare=[mlm.folder], text=EVIL).read_text()


def test_a_head_of_a_run_is_traced_on_any_text(run):
    trace = head_trace(load_run(run.config, run.folder), "walk sings", layer=0, head=1)
    assert trace.tokens[0] == "[CLS]"
    assert trace.tokens[-1] == "[SEP]"
    assert trace.nonlinearity.name == "log_cosh"
    matrices = np.asarray(trace.found.attention)
    assert matrices.shape == (run.config.model.num_steps + 1, len(trace.tokens), len(trace.tokens))
    np.testing.assert_allclose(
        matrices[-1] @ trace.values, trace.found.states[-1], rtol=1e-4, atol=1e-5
    )


@pytest.mark.core
@pytest.mark.parametrize(
    ("task", "title"),
    [
        ("glue", "rte"),
        ("superglue", "superglue rte"),
        ("scrolls", "scrolls rte"),
        ("qa", "rte"),
        ("synthetic", "rte"),
        ("mlm", "mlm"),
        ("quality", "quality"),
    ],
)
def test_the_title_names_the_task_of_the_data(task, title, tmp_path):
    config = get_defaults()
    config.update_from_flattened_dict(
        {"task": task, "data.task": "rte", "model.heads": "cubic"},
    )
    (tmp_path / "config.json").write_text(config.to_json())
    assert _title(_Run(tmp_path)) == f"{title}: heads cubic"


def test_the_report_has_every_part(report, run):
    for heading in (
        "Results", "Learning curves", "Learned α", "Effective attention", "Energy over the steps",
        "Learned F", "Context wells", "Throughput", "What was run",
    ):  # fmt: skip
        assert f"<h2>{heading}</h2>" in report
    for name, scores in run.result["evaluations"].items():
        assert f"{name} {next(iter(scores))}" in report
    # Both runs, and what tells them apart.
    assert "identity:1,log_cosh:1" in report
    assert "What differs" in report
    commit = read_versions(run.folder)["commit"]
    assert commit == "not a checkout" or commit[:12] in report
    # The wells of a convex head, and where it stands after its steps.
    assert "One well: 100% of 32 starts" in report
    assert "residual ‖∇E‖" in report and "distance to plain attention" in report
    assert "converged: the residual is small" in report


@pytest.mark.core
@pytest.mark.parametrize(("changes", "same"), [({}, True), ({"seed": 1}, False)])
def test_batches_are_the_same_where_seed_and_data_are(changes, same, tmp_path):
    runs = {}
    for name, given in (("a", {}), ("b", changes)):
        config = get_defaults()
        config.update_from_flattened_dict({"data.num_threads": len(runs), **given})
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config.to_json())
        runs[name] = _Run(tmp_path / name)
    assert ("the batches are the same" in _curves(runs).lead) == same


@pytest.mark.core
@pytest.mark.parametrize(("coupling", "is_said"), [("pooled", True), ("elementwise", False)])
def test_one_well_is_said_of_the_couplings_that_have_one(coupling, is_said, tmp_path):
    config = get_defaults()
    config.model.coupling = coupling
    (tmp_path / "config.json").write_text(config.to_json())
    row = {"layer": 0, "head": 0, "family": "log_cosh", "alpha": -0.5}
    run = _Run(tmp_path)
    run.result = {"alpha": [row]}
    (section,) = _alphas({"run": run})
    assert ("one well for every λ" in section.lead) == is_said


def test_the_report_draws_the_energies_of_every_layer(report, run, mlm):
    assert "<h2>Energies while training</h2>" in report
    for title in ("Energy that the steps take away", "Distance to plain attention"):
        assert title in report
    assert "layer 1" in report
    assert "that is not finite, over all measurements: 0;" in report
    # A linear run has none.
    assert energy_sections(read_metrics(mlm.folder)) == []


def test_energies_that_were_measured_once_are_a_table(run):
    rows = [row for row in read_metrics(run.folder) if "layer_1/energy_drop" in row]
    (once,) = energy_sections(rows[-1:])
    assert "<svg" not in once.content and "<table" in once.content
    assert number(rows[-1]["layer_1/energy_drop"]) in once.content
    (twice,) = energy_sections([rows[-1], rows[-1] | {"step": 99}])
    assert "<svg" in twice.content


def test_text_and_configs_are_escaped_and_nothing_is_fetched(report):
    assert "alert(" not in report.replace("alert(&quot;", "")
    assert not re.search(r"<script>(?!\s*for \(const view)", report)
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", report)


def test_a_second_report_replaces_the_first_and_a_failed_one_leaves_it(run, monkeypatch):
    path = write_report(run.config, run.folder)
    before = path.read_text()
    monkeypatch.setattr("hopfield_attn.train.report_run.render_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(run.config, run.folder)
    assert path.read_text() == before
    assert [p.name for p in run.folder.glob("*partial*")] == []


@pytest.fixture(scope="module")
def recall_report(recall):
    return write_report(recall.config, recall.folder).read_text()


def test_heads_of_a_generated_task_are_shown_beside_the_true_sources(recall, recall_report):
    assert "An example of RecallTask(" in recall_report
    shown = example_traces(load_run(recall.config, recall.folder), [(0, 0)])
    example, (trace,) = shown.example, shown.traces
    assert trace.tokens[0] == "[CLS]" and trace.tokens[1][0] == "k" and trace.tokens[2][0] == "v"
    # Plain attention, effective attention, and the difference.
    assert recall_report.count('class="source"') == 3 * np.sum(example["sources"])
    first = f"{np.asarray(source_mass_of(trace, example)):.1%} of the queries"
    assert first in recall_report


def source_mass_of(trace, example):
    rows = np.asarray(trace.found.attention[-1])[example["positions"]]
    return np.mean(np.sum(np.abs(rows) * example["sources"], 1) / np.sum(np.abs(rows), 1))


@pytest.mark.parametrize(
    ("heads", "coupling", "said"),
    [
        ("square:2", "pooled", ["layer 1, head 1: square</h3>", ">1.1 square<"]),
        ("spline:2", "pairwise", ["Splines of layer 1", ">head 2<"]),
        ("log_cosh:2", "elementwise", ["an elementwise head scales every feature", "convex"]),
    ],
)
def test_every_family_and_coupling_has_a_report(train_run, heads, coupling, said):
    run = train_run({"task": "synthetic", "model.heads": heads, "model.coupling": coupling})
    page = write_report(run.config, run.folder).read_text()
    for text in said:
        assert text in page
    if coupling != "pooled":
        shown = example_traces(load_run(run.config, run.folder), [(0, 0)])
        tokens = shown.traces[0].tokens
        asked = tokens[shown.example["positions"][0]]
        assert asked != tokens[1] and f"Of the query “{asked}”" in page


def test_the_heads_that_are_shown_are_those_whose_f_is_farthest_from_u(train_run):
    run = train_run({"task": "synthetic", "model.heads": "quadratic:1,square:1"})
    # |F'(u) − 1| of a square head is 3 at u = −1; α of the other is small, as it began at 0.
    assert chosen_heads(load_run(run.config, run.folder)) == [(0, 1), (0, 0)]


def test_a_head_that_diverges_shows_its_finite_steps(run):
    trace = head_trace(load_run(run.config, run.folder), "walk sings", layer=0, head=1)
    broken = trace.found.attention.at[1:].set(np.nan)
    view = attention_view(trace._replace(found=trace.found._replace(attention=broken)), name="a")
    assert "not finite from step 1 on" in view and 'max="0"' in view
    labels = re.findall('aria-label="([^"]*)"', view)
    assert len(labels) == len(set(labels)) == 3


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_a_text_has_room_for_its_frame(run, max_tokens):
    with pytest.raises(ValueError, match="max_tokens must be >= 2"):
        text_traces(load_run(run.config, run.folder), "walk", [(0, 0)], max_tokens=max_tokens)


def test_sequences_too_long_to_draw_are_said_to_be_so(recall, recall_report, monkeypatch):
    monkeypatch.setattr("hopfield_attn.train.report_heads._MAX_LENGTH", 3)
    page = write_report(recall.config, recall.folder).read_text()
    assert "more than the 3 that can be drawn" in page and 'class="source"' not in page
    assert "<h2>Context wells</h2>" in page


def test_only_runs_of_generated_tasks_have_examples_with_sources(mlm):
    with pytest.raises(ValueError, match="expected a run of the task 'synthetic'; got 'mlm'"):
        example_traces(load_run(mlm.config, mlm.folder), [(0, 0)])


def test_a_run_that_is_not_finished_has_a_report(recall, tmp_path, capsys):
    (tmp_path / "config.json").write_text(recall.config.to_json())
    assert main(["report", f"--workdir={tmp_path}"]) == 0
    assert f"Report: {tmp_path}" in capsys.readouterr().out
    page = (tmp_path / REPORT_FILE).read_text()
    assert "The run has no result yet." in page


def test_wrong_arguments_are_one_line(tmp_path, capsys, recall):
    assert main(["report", f"--workdir={tmp_path}"]) == 2
    assert "there is no run" in capsys.readouterr().err
    assert main(["report", f"--workdir={recall.folder}", "extra"]) == 2
    assert "unexpected argument 'extra'" in capsys.readouterr().err
    assert main(["report", f"--workdir={recall.folder}", f"--compare={tmp_path}"]) == 2
    assert "there is no run" in capsys.readouterr().err


PROBE = """<script>
window.addEventListener("load", () => {
  const view = document.querySelector(".attention"), slider = view.querySelector("input");
  const fills = () => [...view.querySelectorAll("svg")[1].querySelectorAll("rect")]
    .map(cell => cell.getAttribute("fill"));
  const last = fills();
  slider.value = 0; slider.dispatchEvent(new Event("input"));
  const plain = [...view.querySelectorAll("svg")[0].querySelectorAll("rect")]
    .map(cell => cell.getAttribute("fill"));
  document.title = JSON.stringify({
    errors: window.errors, wide: document.documentElement.scrollWidth - innerWidth,
    isPlain: JSON.stringify(fills()) === JSON.stringify(plain),
    changes: JSON.stringify(last) !== JSON.stringify(plain),
    line: view.querySelector(".measures").textContent,
  });
});
</script></body>"""


@pytest.mark.parametrize("width", [500, 1280])
def test_a_browser_shows_it_without_errors_at_any_width(report, tmp_path, width):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH")
    watch = "<script>window.errors = []; onerror = m => errors.push(m);"
    watch += "addEventListener('securitypolicyviolation', e => errors.push(e.blockedURI));</script>"
    page = tmp_path / "page.html"
    page.write_text(report.replace("<style>", watch + "<style>", 1).replace("</body>", PROBE))
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.S)
    assert title, done.stderr[-2000:]
    found = json.loads(title[1].replace("&amp;", "&"))
    assert found["errors"] == []
    assert found["wide"] <= 0  # nothing makes the page scroll sideways
    assert found["isPlain"]  # at step 0 the effective matrix is plain attention
    assert found["line"].startswith("step 0:")
