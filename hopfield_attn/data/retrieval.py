"""Noisy pattern retrieval: the pattern that a noisy copy was made from, or its symbols."""

import math
from dataclasses import dataclass

import numpy as np

from hopfield_attn.checks import check_choice
from hopfield_attn.data.source import Element
from hopfield_attn.data.synthetic import name_token, query_example
from hopfield_attn.data.tokenizer import CLS_ID, NUM_SPECIAL, SEP_ID

ANSWERS = ("symbols", "pattern")
_NUM_SIMULATED = 4000


@dataclass(frozen=True, kw_only=True)
class RetrievalTask:
    """The size of the task.

    A sequence is ``[CLS] p1 [SEP] p2 [SEP] ... pP [SEP] copy [SEP]``: P patterns of L symbols drawn
    uniformly, and a copy of one of them, each of whose symbols is replaced with probability ρ by
    one drawn uniformly. With ``answer`` "symbols" every symbol of the copy is a query, its answer
    the symbol of the pattern, its source the place of that symbol in the pattern that was copied.
    With "pattern" the one query is ``[CLS]``, its answer the number of the pattern, its sources all
    symbols of that pattern.

    Noise sets the best possible: that of the posterior probability of the patterns given the
    number of symbols that each shares with the copy. For "pattern" it is known exactly, for
    "symbols" it is the mean of the largest posterior over 4,000 simulated examples (standard error
    below 0.002 where it is above 0.95). ``copy_accuracy`` = 1 − ρ + ρ/S is that of giving the
    symbols of the copy back, which needs no pattern.

    Attributes:
      num_patterns: P, at least 2.
      pattern_length: L, at least 1.
      num_symbols: S, at least 2.
      noise_rate: ρ, at least 0 and below 1.
      answer: "symbols" or "pattern".

    Raises:
      ValueError: a number is out of its range, or an unknown answer.

    Example:
      >>> task = RetrievalTask(num_patterns=4, pattern_length=6, num_symbols=8, noise_rate=0.3,
      ...                      answer="pattern")
      >>> task.length, task.vocab_size, task.num_outputs
      (36, 13, 4)
      >>> {name: round(value, 4) for name, value in task.baselines.items()}
      {'chance_accuracy': 0.25, 'best_accuracy': 0.9772}
    """

    num_patterns: int
    pattern_length: int
    num_symbols: int
    noise_rate: float
    answer: str

    def __post_init__(self) -> None:
        """Checks the sizes."""
        check_choice("answer", self.answer, ANSWERS)
        if self.num_patterns < 2 or self.num_symbols < 2 or self.pattern_length < 1:
            raise ValueError(
                "num_patterns and num_symbols must be at least 2 and pattern_length at least 1, "
                f"got {self.num_patterns}, {self.num_symbols} and {self.pattern_length}"
            )
        if not 0 <= self.noise_rate < 1:
            raise ValueError(f"noise_rate must be at least 0 and below 1, got {self.noise_rate}")

    @property
    def length(self) -> int:
        """Tokens in a sequence: patterns and copy with a ``[SEP]`` after each, and ``[CLS]``."""
        return (self.num_patterns + 1) * (self.pattern_length + 1) + 1

    @property
    def vocab_size(self) -> int:
        """Number of ids: special tokens and symbols; label y stands for the id 5 + y."""
        return NUM_SPECIAL + self.num_symbols

    @property
    def num_outputs(self) -> int:
        """Number of symbols, or of patterns."""
        return self.num_symbols if self.answer == "symbols" else self.num_patterns

    @property
    def baselines(self) -> dict[str, float]:
        """Of any fixed answer, of the symbols of the copy, and of the posterior."""
        if self.answer == "pattern":
            best = self._best_pattern_accuracy()
            return {"chance_accuracy": 1 / self.num_patterns, "best_accuracy": best}
        return {
            "chance_accuracy": 1 / self.num_symbols,
            "copy_accuracy": self._kept_probability,
            "best_accuracy": self._simulated_symbol_accuracy(),
        }

    def token_name(self, token_id: int) -> str:
        """Names symbols ``s0``, ``s1``, …."""
        return name_token(token_id, {"s": NUM_SPECIAL})

    def draw(self, rng: np.random.Generator) -> Element:
        """Draws one example."""
        patterns, copy, chosen = self._draw_patterns(rng, ())
        size = self.pattern_length
        rows = np.full((self.num_patterns + 1, size + 1), SEP_ID)
        rows[:-1, :-1] = NUM_SPECIAL + patterns
        rows[-1, :-1] = NUM_SPECIAL + copy
        first = 1 + int(chosen) * (size + 1)
        start = 1 + self.num_patterns * (size + 1)
        if self.answer == "symbols":
            positions, labels = start + np.arange(size), patterns[chosen]
            sources = np.arange(self.length) == first + np.arange(size)[:, None]
        else:
            positions, labels = np.array([0]), np.array([chosen])
            places = np.arange(self.length)[None]
            sources = (places >= first) & (places < first + size)
        return query_example(
            np.concatenate([[CLS_ID], rows.ravel()]),
            positions=positions,
            labels=labels,
            sources=sources,
            question_start=start,
        )

    @property
    def _kept_probability(self) -> float:
        """P(a symbol of the copy is that of the pattern)."""
        return 1 - self.noise_rate + self.noise_rate / self.num_symbols

    def _draw_patterns(
        self, rng: np.random.Generator, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Patterns (*shape, P, L), the copy (*shape, L) and the number of what was copied."""
        size = self.pattern_length
        patterns = rng.integers(self.num_symbols, size=(*shape, self.num_patterns, size))
        chosen = np.asarray(rng.integers(self.num_patterns, size=shape))
        copied = np.take_along_axis(patterns, chosen[..., None, None], axis=-2)[..., 0, :]
        noise = rng.integers(self.num_symbols, size=copied.shape)
        is_replaced = rng.random(copied.shape) < self.noise_rate
        return patterns, np.where(is_replaced, noise, copied), chosen

    def _best_pattern_accuracy(self) -> float:
        """P(the copied pattern shares most symbols with the copy), ties broken by lot."""
        size, num_others = self.pattern_length, self.num_patterns - 1
        copied = _binomial_probabilities(size, self._kept_probability)
        other = _binomial_probabilities(size, 1 / self.num_symbols)
        below = np.concatenate([[0.0], np.cumsum(other)[:-1]])
        # k others share as many as the copied one and the rest fewer: right with 1/(k + 1).
        wins = sum(
            math.comb(num_others, k) * other**k * below ** (num_others - k) / (k + 1)
            for k in range(num_others + 1)
        )
        return float(np.sum(copied * wins))

    def _simulated_symbol_accuracy(self) -> float:
        rng = np.random.default_rng(0)
        patterns, copy, _ = self._draw_patterns(rng, (_NUM_SIMULATED,))
        return float(np.mean(self.symbol_posterior(patterns, copy).max(axis=-1)))

    def symbol_posterior(self, patterns: np.ndarray, copy: np.ndarray) -> np.ndarray:
        """Probability of every symbol at every place of the pattern that was copied.

        Args:
          patterns: (…, P, L) symbols from 0.
          copy: (…, L).

        Returns:
          (…, L, S).
        """
        kept = self._kept_probability
        replaced = (1 - kept) / (self.num_symbols - 1)
        shared = np.sum(patterns == copy[..., None, :], axis=-1)
        # With no noise a symbol that differs rules a pattern out.
        odds = np.log(kept) - np.log(max(replaced, 1e-30))
        weights = np.exp(odds * (shared - shared.max(axis=-1, keepdims=True)))
        weights /= weights.sum(axis=-1, keepdims=True)
        is_symbol = patterns[..., None] == np.arange(self.num_symbols)
        return np.asarray(np.sum(weights[..., None, None] * is_symbol, axis=-3))


def _binomial_probabilities(num: int, p: float) -> np.ndarray:
    return np.array([math.comb(num, k) * p**k * (1 - p) ** (num - k) for k in range(num + 1)])
