"""The generated tasks by name, made from the difficulty that a config asks for."""

from collections.abc import Callable, Mapping
from typing import Any

from hopfield_attn.checks import check_choice
from hopfield_attn.data import brackets, retrieval
from hopfield_attn.data.brackets import BracketsTask
from hopfield_attn.data.induction import InductionTask
from hopfield_attn.data.match import MatchTask, balanced_modulus
from hopfield_attn.data.recall import RecallTask
from hopfield_attn.data.retrieval import RetrievalTask
from hopfield_attn.data.synthetic import SyntheticTask

Difficulty = Mapping[str, Any]


def make_synthetic_task(name: str, difficulty: Difficulty) -> SyntheticTask:
    """Makes the task ``name``.

    Args:
      name: a key of :data:`SYNTHETIC_TASKS`.
      difficulty: the attributes of the task by name; others are not looked at. An ``answer`` of ""
        is the first that the task has, a ``modulus`` of 0 the one that balances yes and no.

    Raises:
      ValueError: an unknown name, or a difficulty that the task cannot have.

    Example:
      >>> make_synthetic_task("match2", {"num_tokens": 16, "modulus": 0})
      MatchTask(order=2, num_tokens=16, modulus=22)
    """
    check_choice("data.task", name, SYNTHETIC_TASKS)
    return SYNTHETIC_TASKS[name](difficulty)


def _recall(difficulty: Difficulty) -> RecallTask:
    names = ("num_pairs", "num_keys", "num_values", "num_queries")
    return RecallTask(**{name: difficulty[name] for name in names})


def _induction(difficulty: Difficulty) -> InductionTask:
    names = ("context_length", "num_symbols", "num_queries")
    return InductionTask(**{name: difficulty[name] for name in names})


def _match(difficulty: Difficulty, order: int) -> MatchTask:
    num_tokens = difficulty["num_tokens"]
    modulus = difficulty["modulus"] or balanced_modulus(order=order, num_tokens=num_tokens)
    return MatchTask(order=order, num_tokens=num_tokens, modulus=modulus)


def _retrieval(difficulty: Difficulty) -> RetrievalTask:
    names = ("num_patterns", "pattern_length", "num_symbols", "noise_rate")
    answer = difficulty["answer"] or retrieval.ANSWERS[0]
    return RetrievalTask(**{name: difficulty[name] for name in names}, answer=answer)


def _brackets(difficulty: Difficulty) -> BracketsTask:
    names = ("num_pairs", "num_types", "max_depth")
    answer = difficulty["answer"] or brackets.ANSWERS[0]
    return BracketsTask(**{name: difficulty[name] for name in names}, answer=answer)


SYNTHETIC_TASKS: dict[str, Callable[[Difficulty], SyntheticTask]] = {
    "recall": _recall,
    "induction": _induction,
    "match2": lambda difficulty: _match(difficulty, 2),
    "match3": lambda difficulty: _match(difficulty, 3),
    "retrieval": _retrieval,
    "brackets": _brackets,
}
"""Task name → the function that makes it."""
