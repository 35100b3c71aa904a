"""Associative recall: read pairs of keys and values, then give the values of some of the keys."""

from dataclasses import dataclass

import numpy as np

from hopfield_attn.data.source import Element
from hopfield_attn.data.synthetic import mark_sources, name_token, query_example
from hopfield_attn.data.tokenizer import CLS_ID, NUM_SPECIAL, SEP_ID
from hopfield_attn.data.uniform_draws import expected_largest_count


@dataclass(frozen=True, kw_only=True)
class RecallTask:
    """The size of the task.

    A sequence is ``[CLS] k1 v1 ... kP vP [SEP] q1 ... qQ [SEP]``, where the q are Q different ones
    of the P distinct keys. The answer at a q is the value of its key; its sources are the key and
    the value of that pair. The ids are: special tokens 0 to 4 as in ``tokenizer``, then
    ``num_keys`` keys, then ``num_values`` values. Keys and values are drawn uniformly, each value
    independently.

    An answer that reads nothing is right with probability ``chance_accuracy`` = 1/num_values. One
    that reads the values but ignores the keys reaches at most ``keyless_accuracy``, the expected
    share of the commonest value. Reading both gives 1.

    Attributes:
      num_pairs: pairs in a sequence, P.
      num_keys: different keys, at least P.
      num_values: different values, at least 2.
      num_queries: keys that are asked for, Q, at most P.

    Raises:
      ValueError: a number is too small, ``num_pairs`` exceeds ``num_keys``, or ``num_queries``
        exceeds ``num_pairs``.

    Example:
      >>> task = RecallTask(num_pairs=2, num_keys=10, num_values=4, num_queries=1)
      >>> task.length, task.vocab_size
      (8, 19)
      >>> {name: round(value, 6) for name, value in task.baselines.items()}
      {'chance_accuracy': 0.25, 'keyless_accuracy': 0.625, 'best_accuracy': 1.0}
    """

    num_pairs: int
    num_keys: int
    num_values: int
    num_queries: int

    def __post_init__(self) -> None:
        """Checks the sizes."""
        if self.num_pairs < 1 or self.num_values < 2:
            raise ValueError(
                "num_pairs must be at least 1 and num_values at least 2, "
                f"got {self.num_pairs} and {self.num_values}"
            )
        if self.num_pairs > self.num_keys:
            raise ValueError(
                f"{self.num_pairs} pairs need as many distinct keys, got num_keys={self.num_keys}"
            )
        if not 1 <= self.num_queries <= self.num_pairs:
            raise ValueError(
                f"num_queries must be from 1 to num_pairs={self.num_pairs}, got {self.num_queries}"
            )

    @property
    def length(self) -> int:
        """Tokens in a sequence: the pairs, the queries, ``[CLS]`` and two ``[SEP]``."""
        return 2 * self.num_pairs + self.num_queries + 3

    @property
    def first_value_id(self) -> int:
        """The id of value 0; label y stands for the id ``first_value_id + y``."""
        return NUM_SPECIAL + self.num_keys

    @property
    def vocab_size(self) -> int:
        """Number of ids: special tokens, keys and values."""
        return self.first_value_id + self.num_values

    @property
    def num_outputs(self) -> int:
        """Number of values."""
        return self.num_values

    @property
    def baselines(self) -> dict[str, float]:
        """Of any fixed answer, of the commonest value of the sequence, and of the true value."""
        largest = expected_largest_count(self.num_pairs, self.num_values)
        return {
            "chance_accuracy": 1 / self.num_values,
            "keyless_accuracy": largest / self.num_pairs,
            "best_accuracy": 1.0,
        }

    def token_name(self, token_id: int) -> str:
        """Names keys ``k0``, ``k1``, … and values ``v0``, ``v1``, …."""
        return name_token(token_id, {"k": NUM_SPECIAL, "v": self.first_value_id})

    def draw(self, rng: np.random.Generator) -> Element:
        """Draws one example."""
        keys = NUM_SPECIAL + rng.choice(self.num_keys, size=self.num_pairs, replace=False)
        values = rng.integers(self.num_values, size=self.num_pairs)
        asked = rng.choice(self.num_pairs, size=self.num_queries, replace=False)
        start = 2 * self.num_pairs + 2
        tokens = np.full(self.length, SEP_ID)
        tokens[0] = CLS_ID
        tokens[1 : start - 1 : 2] = keys
        tokens[2 : start - 1 : 2] = self.first_value_id + values
        tokens[start:-1] = keys[asked]
        places = 2 * asked[:, None] + np.array([[1, 2]])
        return query_example(
            tokens,
            positions=np.arange(start, self.length - 1),
            labels=values[asked],
            sources=mark_sources(places, length=self.length),
            question_start=start,
        )
