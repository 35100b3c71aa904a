"""Questions with candidates as rows of token ids, ``[CLS] passage [SEP] query [SEP]`` for each."""

from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

from hopfield_attn.data.examples import CandidateQuestion
from hopfield_attn.data.glue_encoding import encode_examples
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.source import ArraySource
from hopfield_attn.data.superglue_rows import PLACEHOLDER


def encode_candidates(
    tokenizer: Tokenizer, questions: Sequence[CandidateQuestion], *, length: int
) -> ArraySource:
    """Encodes one row a candidate; of passage and query the longer is cut first.

    Args:
      tokenizer: any tokenizer with BERT's special tokens, whatever their ids.
      questions: the questions, each with any number of candidates.
      length: tokens in a row, special tokens included.

    Returns:
      A source with ``tokens``, ``mask``, ``token_types`` and ``labels`` as of ``encode_examples``;
      ``groups`` () int32, the number of the row's question; and ``candidates`` () int32, the
      number of its candidate in the question.

    Raises:
      ValueError: there is no question, ``length`` is too small, or only some have labels.

    Example:
      >>> from hopfield_attn.data.tokenizer import train_tokenizer
      >>> tokenizer = train_tokenizer(["a b c d"], vocab_size=261)
      >>> question = CandidateQuestion("a", "b", ("c", "d"), (0, 1))
      >>> source = encode_candidates(tokenizer, [question, question], length=12)
      >>> for name in ("groups", "candidates", "labels"):
      ...     print(name, source.arrays[name])
      groups [0 0 1 1]
      candidates [0 1 0 1]
      labels [0 1 0 1]
    """
    rows = [row for question in questions for row in candidate_rows(question)]
    numbers = [len(question.candidates) for question in questions]
    encoded = encode_examples(tokenizer, rows, length=length)
    order = [np.arange(number, dtype=np.int32) for number in numbers]
    groups = np.repeat(np.arange(len(questions), dtype=np.int32), numbers)
    return ArraySource({**encoded.arrays, "groups": groups, "candidates": np.concatenate(order)})


def candidate_rows(question: CandidateQuestion) -> list[Example]:
    """One pair a candidate: the passage, and the query with the candidate in it or after it.

    Args:
      question: the question.

    Returns:
      The pairs, labelled where the question is.

    Example:
      >>> candidate_rows(CandidateQuestion("Bo ran.", "@placeholder ran.", ("Bo", "Al"), (1, 0)))
      [Example(sentence1='Bo ran.', sentence2='Bo ran.', label=1),
       Example(sentence1='Bo ran.', sentence2='Al ran.', label=0)]
    """
    labels = question.labels or (None,) * len(question.candidates)
    return [
        Example(question.passage, _fill(question.query, candidate), label)
        for candidate, label in zip(question.candidates, labels, strict=True)
    ]


def _fill(query: str, candidate: str) -> str:
    if PLACEHOLDER in query:
        return query.replace(PLACEHOLDER, candidate)
    return f"{query} {candidate}"
