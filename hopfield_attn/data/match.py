"""Match-2 and Match-3: whether a number has one or two partners with a sum of 0 mod M."""

import math
from dataclasses import dataclass

import numpy as np

from hopfield_attn.data.source import Element
from hopfield_attn.data.synthetic import name_token, query_example
from hopfield_attn.data.tokenizer import CLS_ID, NUM_SPECIAL
from hopfield_attn.data.uniform_draws import convolution_power, poisson_probabilities

ORDERS = (2, 3)
BALANCED = (0.4, 0.6)
"""Shares of answers yes that a task may have."""


@dataclass(frozen=True, kw_only=True)
class MatchTask:
    """The size of the task.

    A sequence is ``[CLS] x1 ... xN`` with the x drawn independently and uniformly from 0, …, M − 1
    (ids 5 and up). Every x_i is a query: 1 (yes) where there is j ≠ i with x_i + x_j ≡ 0 mod M
    (``order`` 2), or j < k, both ≠ i, with x_i + x_j + x_k ≡ 0 mod M (``order`` 3), else 0.

    The sources of a yes are all the partners x_j (and x_k): without them it would be no. A no has
    none, as it is read from all tokens.

    Balance: nothing is planted; N and M are such that between 40 and 60 % of the answers are yes,
    and other sizes are refused. The share is known exactly (:func:`share_of_yes`). It is the same
    for every x_i, but for the parity of x_i in Match-3 with an even M: ``own_token_accuracy`` is
    that of the best answer from x_i alone. In Match-3 a second token tells next to nothing: for
    uniform x_k, x_i + x_j + x_k is 0 with probability 1/M, whatever x_i and x_j are.

    Attributes:
      order: 2 or 3.
      num_tokens: N, at least ``order``.
      modulus: M; :func:`balanced_modulus` finds the one for a share nearest to a half.

    Raises:
      ValueError: an unknown order, too few tokens, or a share of yes out of :data:`BALANCED`.

    Example:
      >>> task = MatchTask(order=3, num_tokens=6, modulus=15)
      >>> task.length, task.vocab_size, round(share_of_yes(order=3, num_tokens=6, modulus=15), 3)
      (7, 20, 0.495)

    Reference: C. Sanford, D. Hsu, M. Telgarsky, "Representational strengths and limitations of
    transformers" (2023), where one layer of pairwise attention solves Match-2 and not Match-3.
    """

    order: int
    num_tokens: int
    modulus: int

    def __post_init__(self) -> None:
        """Checks the sizes."""
        if self.order not in ORDERS:
            raise ValueError(f"order must be 2 or 3, got {self.order}")
        if self.num_tokens < self.order or self.modulus < 2:
            raise ValueError(
                f"num_tokens must be at least {self.order} and modulus at least 2, "
                f"got {self.num_tokens} and {self.modulus}"
            )
        share = share_of_yes(order=self.order, num_tokens=self.num_tokens, modulus=self.modulus)
        if not BALANCED[0] <= share <= BALANCED[1]:
            nearest = balanced_modulus(order=self.order, num_tokens=self.num_tokens)
            raise ValueError(
                f"between 40 and 60 % of the answers must be yes; num_tokens={self.num_tokens} and "
                f"modulus={self.modulus} give {share:.0%}; modulus={nearest} is nearest to a half"
            )

    @property
    def length(self) -> int:
        """Tokens in a sequence: ``[CLS]`` and the numbers."""
        return self.num_tokens + 1

    @property
    def vocab_size(self) -> int:
        """Number of ids: special tokens and residues."""
        return NUM_SPECIAL + self.modulus

    @property
    def num_outputs(self) -> int:
        """No and yes."""
        return 2

    @property
    def baselines(self) -> dict[str, float]:
        """Of always yes or always no, of the best answer from x_i alone, of the true answer."""
        shares = _shares_by_own_token(self.order, self.num_tokens, self.modulus)
        share = float(np.mean(shares))
        return {
            "chance_accuracy": max(share, 1 - share),
            "own_token_accuracy": float(np.mean(np.maximum(shares, 1 - shares))),
            "best_accuracy": 1.0,
        }

    def token_name(self, token_id: int) -> str:
        """Names a token by its number."""
        return name_token(token_id, {"": NUM_SPECIAL})

    def draw(self, rng: np.random.Generator) -> Element:
        """Draws one example."""
        numbers = rng.integers(self.modulus, size=self.num_tokens)
        partners = _partners(numbers, self.modulus, self.order)
        sources = np.zeros((self.num_tokens, self.length), np.bool_)
        sources[:, 1:] = partners
        return query_example(
            np.concatenate([[CLS_ID], NUM_SPECIAL + numbers]),
            positions=np.arange(1, self.length),
            labels=np.asarray(partners.any(axis=1)),
            sources=sources,
            question_start=self.length,
        )


def share_of_yes(*, order: int, num_tokens: int, modulus: int) -> float:
    """Exact probability that the answer to a query is yes.

    Match-2: 1 − (1 − 1/M)^(N−1). Match-3: r ↦ −x_i − r pairs up the residues and leaves f of them
    alone; the other N − 1 numbers make no pair when each of the f comes at most once, and of two
    that are paired up only one: (N−1)! [z^(N−1)] (1 + z)^f (2 e^z − 1)^((M−f)/2) of M^(N−1)
    sequences.

    Args:
      order: 2 or 3.
      num_tokens: N.
      modulus: M.

    Example:
      >>> share_of_yes(order=2, num_tokens=3, modulus=2)
      0.75
    """
    return float(np.mean(_shares_by_own_token(order, num_tokens, modulus)))


def balanced_modulus(*, order: int, num_tokens: int) -> int:
    """The M for which :func:`share_of_yes` is nearest to a half.

    Args:
      order: 2 or 3.
      num_tokens: N, at least ``order``.

    Raises:
      ValueError: an unknown order, or too few tokens.

    Example:
      >>> balanced_modulus(order=2, num_tokens=16), balanced_modulus(order=3, num_tokens=6)
      (22, 15)
    """
    if order not in ORDERS or num_tokens < order:
        raise ValueError(
            f"order must be 2 or 3 and num_tokens at least that, got {order} and {num_tokens}"
        )
    # A pair has a sum of 0 with probability 1/M, and so many pairs come in question.
    guess = math.comb(num_tokens - 1, order - 1) / math.log(2)
    candidates = range(max(2, round(0.6 * guess) - 3), round(1.5 * guess) + 4)

    def distance(modulus: int) -> float:
        share = share_of_yes(order=order, num_tokens=num_tokens, modulus=modulus)
        return abs(share - 0.5)

    return min(candidates, key=distance)


def _partners(numbers: np.ndarray, modulus: int, order: int) -> np.ndarray:
    """(N, N): whether token j takes part in a match of token i."""
    is_other = ~np.eye(len(numbers), dtype=np.bool_)
    sums = numbers[:, None] + numbers
    if order == 2:
        return is_other & (sums % modulus == 0)
    matches = (sums[:, :, None] + numbers) % modulus == 0
    matches &= is_other[:, :, None] & is_other[:, None] & is_other[None]
    return matches.any(axis=2)


def _shares_by_own_token(order: int, num_tokens: int, modulus: int) -> np.ndarray:
    """P(yes | x_i) for the equally likely kinds of x_i: all are alike, or even and odd differ."""
    num_others = num_tokens - 1
    if order == 2:
        return np.array([1 - (1 - 1 / modulus) ** num_others])
    counts_alone = (1,) if modulus % 2 else (0, 2)
    return np.array([1 - _no_pair(num_others, modulus, alone) for alone in counts_alone])


def _no_pair(num_draws: int, modulus: int, num_alone: int) -> float:
    """P(no pair of uniform residues has a given sum), ``num_alone`` of which pair up alone."""
    # As if the residues came independently, each by a Poisson distribution, given their number.
    one = poisson_probabilities(num_draws / modulus, num_draws)
    at_most_once = np.where(np.arange(num_draws + 1) <= 1, one, 0.0)
    one_of_two = 2 * one[0] * one
    one_of_two[0] = one[0] ** 2
    alone = convolution_power(at_most_once, num_alone)
    paired = convolution_power(one_of_two, (modulus - num_alone) // 2)
    allowed = np.convolve(alone, paired)[num_draws]
    return float(allowed / poisson_probabilities(num_draws, num_draws)[num_draws])
