import pytest

from hopfield_attn.data.glue_tasks import GLUE_TASKS, find_task


def test_all_nine_tasks_have_consistent_labels():
    assert " ".join(GLUE_TASKS) == "cola sst2 mrpc stsb qqp mnli qnli rte wnli"
    for name, task in GLUE_TASKS.items():
        names = task.label_names or ()
        assert len(names) == len(set(names)) == len(task.file_labels)
        assert task.num_labels == {"stsb": 1, "mnli": 3}.get(name, 2)
        assert (task.sentence2 is None) == (name in ("cola", "sst2"))


def test_entailment_is_class_zero_except_in_wnli():
    for name in ("mnli", "qnli", "rte"):
        assert GLUE_TASKS[name].label_names[0] == "entailment"
    assert GLUE_TASKS["wnli"].label_names == ("not_entailment", "entailment")


def test_metrics_are_those_that_glue_reports():
    assert {name: task.metrics for name, task in GLUE_TASKS.items()} == {
        "cola": ("matthews_correlation",),
        "stsb": ("pearson", "spearman"),
        "mrpc": ("accuracy", "f1"),
        "qqp": ("accuracy", "f1"),
    } | {name: ("accuracy",) for name in ("sst2", "mnli", "qnli", "rte", "wnli")}


@pytest.mark.parametrize(
    ("name", "guess"), [("SST-2", "sst2"), ("sts-b", "stsb"), ("MNLI-mm", "mnli"), ("CoLA", "cola")]
)
def test_unknown_task_gets_a_guess_and_the_list(name, guess):
    with pytest.raises(ValueError, match=f"'cola', .*'wnli'; got '{name}'; did you mean '{guess}'"):
        find_task(name)


def test_name_like_no_task_gets_the_list_only():
    with pytest.raises(ValueError, match="must be one of 'cola', .*; got 'squad'$"):
        find_task("squad")
