"""Multiple choice as rows of token ids, ``[CLS] context [SEP] question choice [SEP]`` for each."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from hopfield_attn.data.examples import ChoiceQuestion
from hopfield_attn.data.framing import label_array
from hopfield_attn.data.glue_encoding import encode_examples
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.source import ArraySource


def encode_choices(
    tokenizer: Tokenizer, questions: Sequence[ChoiceQuestion], *, length: int
) -> ArraySource:
    """Encodes each question as one row a choice; of context and choice the longer is cut first.

    Args:
      tokenizer: any tokenizer with BERT's special tokens, whatever their ids.
      questions: questions with one number of choices.
      length: tokens in a row, special tokens included.

    Returns:
      A source with ``tokens``, ``mask`` and ``token_types``, each (choices, length), as of
      ``encode_examples``; and ``labels`` () int32, absent where the questions have none.

    Raises:
      ValueError: there is no question, their numbers of choices differ, ``length`` is too small,
        or only some have a label.

    Example:
      >>> from hopfield_attn.data.tokenizer import train_tokenizer
      >>> tokenizer = train_tokenizer(["a b c d"], vocab_size=261)
      >>> question = ChoiceQuestion("a", "b", ("c", "d"), 1)
      >>> encode_choices(tokenizer, [question], length=12)[0]["tokens"]
      array([[  2, 225,  69,   3, 225,  70, 225,  71,   3,   0,   0,   0],
             [  2, 225,  69,   3, 225,  70, 225,  72,   3,   0,   0,   0]], dtype=int32)
    """
    num_choices = count_choices(questions)
    rows = encode_examples(tokenizer, choice_rows(questions), length=length)
    arrays = {
        name: array.reshape(len(questions), num_choices, *array.shape[1:])
        for name, array in rows.arrays.items()
    }
    return ArraySource(arrays | label_array([question.label for question in questions]))


def choice_rows(questions: Sequence[ChoiceQuestion]) -> list[Example]:
    """One pair a choice, the context first; the pairs have no label.

    Args:
      questions: the questions.

    Returns:
      The pairs, question by question.

    Example:
      >>> choice_rows([ChoiceQuestion("It rains.", "So?", ("Wet.", "Dry."), 0)])[1]
      Example(sentence1='It rains.', sentence2='So? Dry.', label=None)
    """
    return [
        Example(question.context, f"{question.question} {choice}".strip(), None)
        for question in questions
        for choice in question.choices
    ]


def count_choices(questions: Sequence[ChoiceQuestion]) -> int:
    """The number of choices that every question has.

    Args:
      questions: the questions.

    Returns:
      The number.

    Raises:
      ValueError: there is no question, or the numbers differ.

    Example:
      >>> count_choices([ChoiceQuestion("a", "b", ("c", "d"), 1)])
      2
    """
    if not questions:
        raise ValueError("expected at least one question, got none")
    numbers = sorted({len(question.choices) for question in questions})
    if len(numbers) > 1:
        raise ValueError(f"questions must have the same number of choices, got {numbers}")
    return numbers[0]
