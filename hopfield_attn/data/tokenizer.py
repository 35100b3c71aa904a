"""Byte-level BPE over lower-cased text, and the special tokens that every row is framed with."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32
from tokenizers import Encoding, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from hopfield_attn.checks import printable
from hopfield_attn.files import write_text

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD_ID, UNK_ID, CLS_ID, SEP_ID, MASK_ID = range(5)
NUM_SPECIAL = len(SPECIAL_TOKENS)
SPECIAL_IDS = dict(zip(SPECIAL_TOKENS, range(NUM_SPECIAL), strict=True))
"""Ids of the special tokens in every tokenizer of :func:`train_tokenizer`."""

NUM_BYTES = 256

_LONGEST_REASON = 200
_WORD = re.compile(r"\S+")


def train_tokenizer(documents: Sequence[str], *, vocab_size: int) -> Tokenizer:
    """Learns a byte-level BPE vocabulary: the same text gives the same ids, bit for bit.

    Text is brought to Unicode form C and lower-cased. No text maps to ``[UNK]``.

    Args:
      documents: training text.
      vocab_size: number of ids: 5 special tokens, 256 bytes, and learnt merges.

    Returns:
      A tokenizer whose special tokens have the ids 0 to 4.

    Raises:
      ValueError: ``vocab_size`` is below 261, or more than the text has merges for.

    Example:
      >>> tokenizer = train_tokenizer(["low lower lowest"] * 2, vocab_size=264)
      >>> tokenizer.encode("Low").tokens
      ['Ġlow']
      >>> [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
      [0, 1, 2, 3, 4]
    """
    smallest = NUM_SPECIAL + NUM_BYTES
    if vocab_size < smallest:
        raise ValueError(
            f"vocab_size must be at least {smallest} (special tokens and bytes), got {vocab_size}"
        )
    tokenizer = _untrained_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer=trainer)
    learnt = tokenizer.get_vocab_size()
    if learnt != vocab_size:
        raise ValueError(
            f"vocab_size is {vocab_size}, but the text has repeated pairs for {learnt} ids only; "
            "use more text or a smaller vocab_size"
        )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, path: str | os.PathLike[str]) -> None:
    """Writes ``tokenizer.json``, whole or not at all.

    Args:
      tokenizer: the tokenizer.
      path: the file; missing folders are made, an older file is replaced.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, tokenizer.to_str(pretty=True))


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Reads a ``tokenizer.json``, of this library or of a pretrained BERT.

    Args:
      path: the file.

    Returns:
      The tokenizer; its special tokens exist, but may have any ids.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is not a tokenizer, lacks a special token, or has gaps in its ids.

    Example:
      >>> import tempfile
      >>> tokenizer = train_tokenizer(["one text"], vocab_size=261)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_tokenizer(tokenizer, Path(folder, "tokenizer.json"))
      ...     load_tokenizer(Path(folder, "tokenizer.json")).to_str() == tokenizer.to_str()
      True
    """
    source = Path(path).expanduser()
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such tokenizer file")
    try:
        tokenizer = Tokenizer.from_str(source.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exception for malformed JSON
        raise ValueError(f"{source}: not a tokenizer.json ({_shortened(error)})") from error
    check_tokenizer(tokenizer, source=str(source))
    return tokenizer


def check_tokenizer(tokenizer: Tokenizer, *, source: str) -> None:
    """Raises ``ValueError`` for a tokenizer whose ids no model can be made for.

    Args:
      tokenizer: from a file.
      source: the file, for messages.

    Raises:
      ValueError: it lacks a special token, or its N tokens do not have the ids 0 to N − 1.
    """
    try:
        special_ids(tokenizer)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    vocabulary = tokenizer.get_vocab()
    largest = max(vocabulary.values())
    if largest != len(vocabulary) - 1 or len(set(vocabulary.values())) < len(vocabulary):
        raise ValueError(
            f"{source}: {len(vocabulary)} tokens must have the ids 0 to {len(vocabulary) - 1}, "
            f"each once; the largest is {largest}"
        )


def _shortened(error: Exception) -> str:
    return printable(str(error)[:_LONGEST_REASON])


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Returns the id of each special token.

    Args:
      tokenizer: any tokenizer with BERT's special tokens.

    Returns:
      Ids by name, in the order of ``SPECIAL_TOKENS``.

    Raises:
      ValueError: some are missing.

    Example:
      >>> special_ids(train_tokenizer(["one text"], vocab_size=261))
      {'[PAD]': 0, '[UNK]': 1, '[CLS]': 2, '[SEP]': 3, '[MASK]': 4}
    """
    found = ((token, tokenizer.token_to_id(token)) for token in SPECIAL_TOKENS)
    ids = {token: token_id for token, token_id in found if token_id is not None}
    missing = [token for token in SPECIAL_TOKENS if token not in ids]
    if missing:
        raise ValueError(f"the tokenizer lacks the special tokens {missing}")
    return ids


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Encodes texts as they are: no special token is added, nothing is cut or padded.

    A text that spells ``[MASK]`` gets ordinary tokens for it.

    Args:
      tokenizer: any tokenizer; it is not changed.
      texts: the texts.

    Returns:
      The ids of each text.

    Example:
      >>> encode_texts(train_tokenizer(["one text"], vocab_size=261), ["", "[PAD]"])
      [[], [225, 63, 84, 69, 72, 65]]
    """
    return [encoding.ids for encoding in _encode(tokenizer, texts)]


class TokenizedText(NamedTuple):
    """The tokens of a text and where each came from.

    Attributes:
      ids: token ids.
      offsets: (tokens, 2): characters [start, end) of each token, without white space around it;
        a token of white space alone has start = end.
    """

    ids: list[int]
    offsets: Int32[np.ndarray, "tokens 2"]


def encode_with_offsets(tokenizer: Tokenizer, texts: Sequence[str]) -> list[TokenizedText]:
    """Encodes texts as ``encode_texts`` does, and keeps the characters of each token.

    Args:
      tokenizer: any tokenizer; it is not changed.
      texts: the texts.

    Returns:
      Ids and offsets of each text.

    Example:
      >>> tokenizer = train_tokenizer(["low lower"] * 2, vocab_size=264)
      >>> encode_with_offsets(tokenizer, ["Low  low"])[0].offsets.tolist()
      [[0, 3], [4, 4], [5, 8]]
    """
    return [
        TokenizedText(encoding.ids, _word_offsets(text, encoding.offsets))
        for text, encoding in zip(texts, _encode(tokenizer, texts), strict=True)
    ]


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Encoding]:
    # A pretrained file may carry truncation and padding, and both act without a word.
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    plain.encode_special_tokens = True
    return plain.encode_batch(list(texts), add_special_tokens=False)


def _word_offsets(text: str, offsets: Sequence[tuple[int, int]]) -> Int32[np.ndarray, "tokens 2"]:
    found = np.zeros((len(offsets), 2), dtype=np.int32)
    for i, (start, end) in enumerate(offsets):
        next_start = offsets[i + 1][0] if i + 1 < len(offsets) else len(text)
        # Byte-level tokens begin with the space before a word.
        begin = end - len(text[start:end].lstrip())
        # What the normaliser took away, such as the accent after a letter, stays with the letter.
        dropped = _WORD.match(text, end, max(end, next_start))
        stop = max(begin, start + len(text[start:end].rstrip()))
        found[i] = begin, dropped.end() if dropped and stop == end else stop
    return found


def encode_documents(
    tokenizer: Tokenizer, documents: Sequence[str]
) -> list[Int32[np.ndarray, " _"]]:
    """Encodes documents for packing, without special tokens.

    Args:
      tokenizer: any tokenizer with BERT's special tokens.
      documents: the documents.

    Returns:
      An int32 array of ids for each document.

    Example:
      >>> tokenizer = train_tokenizer(["low lower"] * 2, vocab_size=264)
      >>> encode_documents(tokenizer, ["low", ""])
      [array([263], dtype=int32), array([], dtype=int32)]
    """
    return [np.asarray(row, dtype=np.int32) for row in encode_texts(tokenizer, documents)]


def word_starts(tokenizer: Tokenizer) -> Bool[np.ndarray, " vocab"]:
    """Which ids start a word: those without ``##`` (WordPiece), or with a space (byte-level BPE).

    Args:
      tokenizer: one of :func:`train_tokenizer`, or of a pretrained BERT.

    Example:
      >>> tokenizer = train_tokenizer(["low lower"] * 2, vocab_size=264)
      >>> starts = word_starts(tokenizer)
      >>> [bool(starts[i]) for i in tokenizer.encode("low lowest").ids]
      [True, True, False, False, False]
    """
    is_wordpiece = isinstance(tokenizer.model, models.WordPiece)
    starts = np.zeros(tokenizer.get_vocab_size(), dtype=np.bool_)
    for token, index in tokenizer.get_vocab().items():
        starts[index] = not token.startswith("##") if is_wordpiece else token.startswith("Ġ")
    return starts


def _untrained_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    # The first word of a text is then the same token as anywhere else.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
