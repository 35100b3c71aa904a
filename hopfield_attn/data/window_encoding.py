"""Long documents as rows of token ids: overlapping windows of them, or one long window."""

from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

from hopfield_attn.checks import check_count
from hopfield_attn.data.choice_encoding import choice_rows, count_choices
from hopfield_attn.data.examples import ChoiceQuestion
from hopfield_attn.data.framing import Frame, frame, label_array, pad_frames
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.source import ArraySource
from hopfield_attn.data.tokenizer import encode_texts, special_ids
from hopfield_attn.data.windows import windows_of


def encode_windows(
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    *,
    length: int,
    num_windows: int,
    stride: int,
) -> ArraySource:
    """Encodes each example as windows of its first text, each with the whole second text after it.

    ``[CLS] window [SEP]`` or ``[CLS] window [SEP] second [SEP]``. With ``num_windows=1`` an
    example is one row of ``length`` tokens. What comes after the last window is left out.

    Args:
      tokenizer: any tokenizer with BERT's special tokens, whatever their ids.
      examples: documents, alone or with what is asked of them.
      length: tokens in a window, special tokens and second text included; a second text is cut to
        half of it.
      num_windows: windows of an example, at most.
      stride: tokens of the document from the start of one window to that of the next.

    Returns:
      A source with ``tokens``, ``mask`` and ``token_types``, each (num_windows, length), as of
      ``encode_examples``; ``windows`` (num_windows,) bool, False for windows that the document is
      too short for, which hold the special tokens alone; and ``labels`` () as of
      ``encode_examples``.

    Raises:
      ValueError: there is no example, a number is too small, or only some have a label.

    Example:
      >>> from hopfield_attn.data.tokenizer import train_tokenizer
      >>> tokenizer = train_tokenizer(["a b c d"], vocab_size=261)
      >>> source = encode_windows(
      ...     tokenizer, [Example("a b", None, 1)], length=5, num_windows=3, stride=2)
      >>> for name in ("tokens", "windows"):
      ...     print(source[0][name])
      [[  2 225  69 225   3]
       [  2 225  70   3   0]
       [  2   3   0   0   0]]
      [ True  True False]
    """
    check_count(1, num_windows=num_windows, stride=stride)
    check_count(5, length=length)
    if not examples:
        raise ValueError("expected at least one example, got none")
    ids = special_ids(tokenizer)
    # Many questions share a document.
    texts = list(dict.fromkeys(example.sentence1 for example in examples))
    documents = dict(zip(texts, encode_texts(tokenizer, texts), strict=True))
    seconds = encode_texts(tokenizer, [example.sentence2 or "" for example in examples])
    parts: list[dict[str, np.ndarray]] = []
    for example, second in zip(examples, seconds, strict=True):
        kept = None if example.sentence2 is None else second[: (length - 3) // 2]
        rows = _window_frames(documents[example.sentence1], kept, ids, length, stride)
        rows = rows[:num_windows]
        filling = [frame([], None if kept is None else [], ids=ids)] * (num_windows - len(rows))
        arrays = pad_frames(rows + filling, length=length, pad_id=ids["[PAD]"])
        parts.append(arrays | {"windows": np.arange(num_windows) < len(rows)})
    stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    return ArraySource(stacked | label_array([example.label for example in examples]))


def encode_window_choices(
    tokenizer: Tokenizer,
    questions: Sequence[ChoiceQuestion],
    *,
    length: int,
    num_windows: int,
    stride: int,
) -> ArraySource:
    """Encodes each question as the windows of its context, once for every choice.

    Args:
      tokenizer: as for ``encode_windows``.
      questions: questions with one number of choices.
      length: as for ``encode_windows``.
      num_windows: as for ``encode_windows``.
      stride: as for ``encode_windows``.

    Returns:
      A source with the arrays of ``encode_windows`` behind one more axis, (choices, …); ``labels``
      () int32; and ``difficult`` () bool.

    Raises:
      ValueError: as for ``encode_windows``, or the numbers of choices differ.
    """
    num_choices = count_choices(questions)
    rows = encode_windows(
        tokenizer, choice_rows(questions), length=length, num_windows=num_windows, stride=stride
    )
    arrays = {
        name: array.reshape(len(questions), num_choices, *array.shape[1:])
        for name, array in rows.arrays.items()
    }
    arrays["difficult"] = np.array([question.is_difficult for question in questions])
    return ArraySource(arrays | label_array([question.label for question in questions]))


def _window_frames(
    document: list[int], second: list[int] | None, ids: dict[str, int], length: int, stride: int
) -> list[Frame]:
    size = length - 2 if second is None else length - 3 - len(second)
    return [
        frame(document[begin:end], second, ids=ids)
        for begin, end in windows_of(len(document), size=size, stride=stride)
    ]
