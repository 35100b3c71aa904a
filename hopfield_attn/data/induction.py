"""Induction, "... a b ... a → b": find an earlier occurrence of a symbol, give what followed it."""

from dataclasses import dataclass

import numpy as np

from hopfield_attn.data.source import Element
from hopfield_attn.data.synthetic import mark_sources, name_token, query_example
from hopfield_attn.data.tokenizer import CLS_ID, NUM_SPECIAL, SEP_ID
from hopfield_attn.data.uniform_draws import expected_largest_count


@dataclass(frozen=True, kw_only=True)
class InductionTask:
    """The size of the task.

    A sequence is ``[CLS] x1 ... xN [SEP] a1 ... aQ [SEP]``. Q different symbols a are drawn, each
    stands at one place among the x, before the last and not beside each other; the other x are
    drawn uniformly from the other symbols. The answer at an a is the symbol after it among the x;
    its sources are both places. Other than in recall, the place of a pair is free and its two parts
    look alike.

    An answer that reads nothing is right with probability ``chance_accuracy`` = 1/num_symbols. One
    that reads the symbols but not their order reaches at most ``orderless_accuracy``, the expected
    share of the commonest of the N − Q other symbols. Reading both gives 1.

    Attributes:
      context_length: N, at least 2Q.
      num_symbols: different symbols, at least Q + 2.
      num_queries: Q, at least 1.

    Raises:
      ValueError: a number is too small for the others.

    Example:
      >>> task = InductionTask(context_length=8, num_symbols=10, num_queries=2)
      >>> tokens = task.draw(np.random.default_rng(0))["tokens"]
      >>> task.length, task.vocab_size, len(tokens)
      (13, 15, 13)
      >>> {name: round(value, 4) for name, value in task.baselines.items()}
      {'chance_accuracy': 0.1, 'orderless_accuracy': 0.3632, 'best_accuracy': 1.0}
    """

    context_length: int
    num_symbols: int
    num_queries: int

    def __post_init__(self) -> None:
        """Checks the sizes."""
        if self.num_queries < 1:
            raise ValueError(f"num_queries must be at least 1, got {self.num_queries}")
        if self.context_length < 2 * self.num_queries:
            raise ValueError(
                f"num_queries={self.num_queries} pairs of symbols need context_length of at least "
                f"{2 * self.num_queries}, got {self.context_length}"
            )
        if self.num_symbols < self.num_queries + 2:
            raise ValueError(
                f"num_symbols must be at least num_queries + 2 = {self.num_queries + 2}, "
                f"got {self.num_symbols}"
            )

    @property
    def length(self) -> int:
        """Tokens in a sequence: the context, the queries, ``[CLS]`` and two ``[SEP]``."""
        return self.context_length + self.num_queries + 3

    @property
    def vocab_size(self) -> int:
        """Number of ids: special tokens and symbols; label y stands for the id 5 + y."""
        return NUM_SPECIAL + self.num_symbols

    @property
    def num_outputs(self) -> int:
        """Number of symbols."""
        return self.num_symbols

    @property
    def baselines(self) -> dict[str, float]:
        """Of any fixed answer, of the commonest symbol that is not asked for, of the true one."""
        num_others = self.context_length - self.num_queries
        largest = expected_largest_count(num_others, self.num_symbols - self.num_queries)
        return {
            "chance_accuracy": 1 / self.num_symbols,
            "orderless_accuracy": largest / num_others,
            "best_accuracy": 1.0,
        }

    def token_name(self, token_id: int) -> str:
        """Names symbols ``s0``, ``s1``, …."""
        return name_token(token_id, {"s": NUM_SPECIAL})

    def draw(self, rng: np.random.Generator) -> Element:
        """Draws one example."""
        size, num_queries = self.context_length, self.num_queries
        symbols = rng.permutation(self.num_symbols)
        asked, others = symbols[:num_queries], symbols[num_queries:]
        # Places with a gap after each: choose among fewer, then spread.
        places = np.sort(rng.choice(size - num_queries, size=num_queries, replace=False))
        places += np.arange(num_queries)
        context = others[rng.integers(len(others), size=size)]
        context[places] = asked
        order = rng.permutation(num_queries)
        tokens = np.full(self.length, SEP_ID)
        tokens[0] = CLS_ID
        tokens[1 : size + 1] = NUM_SPECIAL + context
        tokens[size + 2 : -1] = NUM_SPECIAL + asked[order]
        found = places[order]
        return query_example(
            tokens,
            positions=np.arange(size + 2, self.length - 1),
            labels=context[found + 1],
            sources=mark_sources(found[:, None] + np.array([[1, 2]]), length=self.length),
            question_start=size + 2,
        )
