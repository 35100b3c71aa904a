"""Nested brackets: the opening bracket that each closing one closes, or its type."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hopfield_attn.checks import check_choice
from hopfield_attn.data.source import Element
from hopfield_attn.data.synthetic import mark_sources, name_token, query_example
from hopfield_attn.data.tokenizer import CLS_ID, NUM_SPECIAL

ANSWERS = ("type", "position")


@dataclass(frozen=True, kw_only=True)
class BracketsTask:
    """The size of the task.

    A sequence is ``[CLS]`` and m pairs of brackets, well nested and at most D deep, every such
    sequence of opening and closing ones equally likely. An opening bracket has one of K types (ids
    6 and up), drawn uniformly; all closing ones are the same token (id 5). Every closing bracket is
    a query: of what type is the opening bracket that it closes (``answer`` "type"), or where does
    that one stand, 0 for the first token after ``[CLS]`` ("position")? Its source is that bracket.

    ``nearest_accuracy`` is that of answering with the nearest opening bracket to the left, which
    is the right one after an opening bracket only. Counting the depth gives 1.

    Attributes:
      num_pairs: m, at least 2.
      num_types: K, at least 2.
      max_depth: D, from 2 to m.
      answer: "type" or "position".

    Raises:
      ValueError: a number is out of its range, or an unknown answer.

    Example:
      >>> task = BracketsTask(num_pairs=3, num_types=4, max_depth=3, answer="type")
      >>> task.length, task.vocab_size, task.num_outputs
      (7, 10, 4)
      >>> {name: round(value, 4) for name, value in task.baselines.items()}
      {'chance_accuracy': 0.25, 'nearest_accuracy': 0.75, 'best_accuracy': 1.0}
    """

    num_pairs: int
    num_types: int
    max_depth: int
    answer: str

    def __post_init__(self) -> None:
        """Checks the sizes."""
        check_choice("answer", self.answer, ANSWERS)
        if self.num_types < 2:
            raise ValueError(f"num_types must be at least 2, got {self.num_types}")
        if not 2 <= self.max_depth <= self.num_pairs:
            raise ValueError(
                f"max_depth must be from 2 to num_pairs={self.num_pairs}, got {self.max_depth}"
            )

    @property
    def length(self) -> int:
        """Tokens in a sequence: ``[CLS]`` and the brackets."""
        return 2 * self.num_pairs + 1

    @property
    def vocab_size(self) -> int:
        """Number of ids: special tokens, the closing bracket, and the types of opening ones."""
        return NUM_SPECIAL + 1 + self.num_types

    @property
    def num_outputs(self) -> int:
        """Number of types, or of places."""
        return self.num_types if self.answer == "type" else 2 * self.num_pairs

    @property
    def baselines(self) -> dict[str, float]:
        """Of any fixed answer, of the nearest opening bracket, and of the right one."""
        adjacent = self._share_after_opening()
        if self.answer == "type":
            chance, lucky = 1 / self.num_types, (1 - adjacent) / self.num_types
        else:
            # The first bracket opens in every sequence, and one closing bracket belongs to it.
            chance, lucky = 1 / self.num_pairs, 0.0
        return {
            "chance_accuracy": chance,
            "nearest_accuracy": adjacent + lucky,
            "best_accuracy": 1.0,
        }

    def token_name(self, token_id: int) -> str:
        """Names opening brackets ``(0``, ``(1``, … by their type, and the closing one ``)``."""
        is_closing = token_id == NUM_SPECIAL
        return ")" if is_closing else name_token(token_id, {"(": NUM_SPECIAL + 1})

    def draw(self, rng: np.random.Generator) -> Element:
        """Draws one example."""
        closings, openings = self._draw_nesting(rng.random(2 * self.num_pairs).tolist())
        types = rng.integers(self.num_types, size=self.num_pairs)
        brackets = np.full(2 * self.num_pairs, NUM_SPECIAL)
        brackets[openings] = NUM_SPECIAL + 1 + types
        return query_example(
            np.concatenate([[CLS_ID], brackets]),
            positions=1 + closings,
            labels=types if self.answer == "type" else openings,
            sources=mark_sources(1 + openings[:, None], length=self.length),
            question_start=self.length,
        )

    def _draw_nesting(self, uniforms: list[float]) -> tuple[np.ndarray, np.ndarray]:
        """Places of the closing brackets in order, and of the opening one of each."""
        opens = self._opening_probabilities
        waiting: list[int] = []
        pairs: list[tuple[int, int]] = []
        for place, uniform in enumerate(uniforms):
            if uniform < opens[place][len(waiting)]:
                waiting.append(place)
            else:
                pairs.append((place, waiting.pop()))
        closings, openings = np.array(pairs).T
        return closings, openings

    @cached_property
    def _opening_probabilities(self) -> list[list[float]]:
        """P(bracket at a place opens | depth before it), under which all nestings are alike."""
        num_places, deepest = 2 * self.num_pairs, self.max_depth
        # Ways to finish from each depth; one more depth on either side saves the special cases.
        ways = [0, 1] + [0] * (deepest + 1)
        rows = []
        for _ in range(num_places):
            opened = [*ways[2:-1], 0]
            total = [opened[d] + ways[d] for d in range(deepest + 1)]
            rows.append([o / t if t else 0.0 for o, t in zip(opened, total, strict=True)])
            ways = [0, *total, 0]
        return rows[::-1]

    def _share_after_opening(self) -> float:
        """Expected share of the closing brackets that stand right after an opening one."""
        # P(depth, whether the bracket before opened), place by place.
        depth = {(0, False): 1.0}
        num_expected = 0.0
        for row in self._opening_probabilities:
            after: dict[tuple[int, bool], float] = {}
            for (d, is_after_opening), p in depth.items():
                num_expected += p * (1 - row[d]) * is_after_opening
                for step, q in ((1, row[d]), (-1, 1 - row[d])):
                    key = (d + step, step > 0)
                    if p * q:
                        after[key] = after.get(key, 0.0) + p * q
            depth = after
        return num_expected / self.num_pairs
