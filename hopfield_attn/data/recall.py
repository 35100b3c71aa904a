"""Associative recall: read pairs of keys and values, then answer with the value of one key."""

import operator
from dataclasses import dataclass

import numpy as np

from hopfield_attn.data.source import Element
from hopfield_attn.data.tokenizer import CLS_ID, NUM_SPECIAL, SEP_ID


@dataclass(frozen=True, kw_only=True)
class RecallTask:
    """The size of the task.

    A sequence is ``[CLS] k1 v1 ... kP vP [SEP] q [SEP]``, where q is one of the P distinct keys.
    The ids are: special tokens 0 to 4 as in ``tokenizer``, then ``num_keys`` keys, then
    ``num_values`` values. Keys and values are drawn uniformly, each value independently.

    An answer that reads nothing is right with probability ``chance_accuracy``. One that reads the
    values but ignores the keys reaches at most ``keyless_accuracy``. Reading both gives 1.

    Attributes:
      num_pairs: pairs in a sequence, P.
      num_keys: different keys, at least P.
      num_values: different values, at least 2.

    Raises:
      ValueError: a number is too small, or ``num_pairs`` exceeds ``num_keys``.

    Example:
      >>> task = RecallTask(num_pairs=2, num_keys=10, num_values=4)
      >>> task.length, task.vocab_size, task.chance_accuracy, round(task.keyless_accuracy, 6)
      (8, 19, 0.25, 0.625)
    """

    num_pairs: int
    num_keys: int
    num_values: int

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

    @property
    def length(self) -> int:
        """Tokens in a sequence: the pairs, the query, ``[CLS]`` and two ``[SEP]``."""
        return 2 * self.num_pairs + 4

    @property
    def first_value_id(self) -> int:
        """The id of value 0; label y stands for the id ``first_value_id + y``."""
        return NUM_SPECIAL + self.num_keys

    @property
    def vocab_size(self) -> int:
        """Number of ids: special tokens, keys and values."""
        return self.first_value_id + self.num_values

    @property
    def chance_accuracy(self) -> float:
        """Accuracy of any fixed answer."""
        return 1 / self.num_values

    @property
    def keyless_accuracy(self) -> float:
        """Expected accuracy of answering with the commonest value of the sequence."""
        return _expected_largest_count(self.num_pairs, self.num_values) / self.num_pairs


@dataclass(frozen=True, kw_only=True)
class RecallExamples:
    """Generated examples, made when they are asked for.

    Example i is a function of (task, seed, i): more examples don't change the first ones.
    See ``recall_examples``.
    """

    task: RecallTask
    num_examples: int
    seed: int

    def __len__(self) -> int:
        """Returns the number of examples."""
        return self.num_examples

    def __getitem__(self, index: int, /) -> Element:
        """Returns example ``index``."""
        i = operator.index(index)
        if not -self.num_examples <= i < self.num_examples:
            raise IndexError(f"index must be below {self.num_examples}, got {i}")
        rng = np.random.default_rng((self.seed, i % self.num_examples))
        return _draw_example(self.task, rng)


def recall_examples(task: RecallTask, *, num_examples: int, seed: int) -> RecallExamples:
    """Makes a random-access source of examples; give training and evaluation different seeds.

    Args:
      task: the sizes.
      num_examples: length of the source.
      seed: non-negative.

    Returns:
      A source whose elements have ``tokens`` (length,) int32; ``mask`` (length,) bool, all True;
      ``token_types`` (length,) int32, 1 from the query on; ``labels`` () int32, the index of the
      value in 0 ... num_values - 1; ``source`` () int32, the position in ``tokens`` where that
      value stands beside the queried key.

    Raises:
      ValueError: ``num_examples`` is not positive or ``seed`` is negative.

    Example:
      >>> task = RecallTask(num_pairs=2, num_keys=10, num_values=4)
      >>> example = recall_examples(task, num_examples=100, seed=0)[3]
      >>> example["tokens"]
      array([ 2,  9, 18, 13, 17,  3,  9,  3], dtype=int32)
      >>> int(example["labels"]), int(example["source"])
      (3, 2)
    """
    if num_examples < 1 or operator.index(seed) < 0:
        raise ValueError(
            f"num_examples must be at least 1 and seed at least 0, got {num_examples} and {seed}"
        )
    return RecallExamples(task=task, num_examples=num_examples, seed=seed)


def _draw_example(task: RecallTask, rng: np.random.Generator) -> Element:
    keys = NUM_SPECIAL + rng.choice(task.num_keys, size=task.num_pairs, replace=False)
    values = rng.integers(task.num_values, size=task.num_pairs)
    asked = int(rng.integers(task.num_pairs))
    tokens = np.full(task.length, SEP_ID, dtype=np.int32)
    tokens[0] = CLS_ID
    tokens[1:-3:2] = keys
    tokens[2:-3:2] = task.first_value_id + values
    tokens[-2] = keys[asked]
    token_types = np.zeros(task.length, dtype=np.int32)
    token_types[-2:] = 1
    return {
        "tokens": tokens,
        "mask": np.ones(task.length, dtype=np.bool_),
        "token_types": token_types,
        "labels": np.array(values[asked], dtype=np.int32),
        "source": np.array(2 * asked + 2, dtype=np.int32),
    }


def _expected_largest_count(num_draws: int, num_values: int) -> float:
    """Returns the mean, over uniform draws, of how often the commonest value came."""
    # Counts of uniform draws are independent Poisson variables given their sum, so that
    # P(all counts <= m) is a convolution power of the truncated Poisson distribution.
    rate = num_draws / num_values
    ranks = np.arange(num_draws + 1)
    factors = np.concatenate([[1.0], rate / np.arange(1, num_draws + 1)])
    poisson = np.exp(-rate) * np.cumprod(factors)
    unrestricted = _convolution_power(poisson, num_values)[num_draws]
    below = [
        _convolution_power(np.where(ranks <= m, poisson, 0.0), num_values)[num_draws]
        for m in range(num_draws)
    ]
    return float(np.sum(1 - np.array(below) / unrestricted))


def _convolution_power(distribution: np.ndarray, exponent: int) -> np.ndarray:
    size = len(distribution)
    power = np.eye(1, size)[0]
    while exponent:
        if exponent % 2:
            power = np.convolve(power, distribution)[:size]
        distribution = np.convolve(distribution, distribution)[:size]
        exponent //= 2
    return np.asarray(power)
