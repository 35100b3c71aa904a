"""What chosen heads of a trained run do with any text."""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders

from hopfield_attn.analysis.head_trace import HeadTrace, trace_heads
from hopfield_attn.checks import check_count
from hopfield_attn.data.tokenizer import SPECIAL_TOKENS, encode_texts, special_ids
from hopfield_attn.train.trained import TrainedRun


def head_trace(run: TrainedRun, text: str, *, layer: int, head: int) -> HeadTrace:
    """q, k, y, attention matrices, energies and certificate of one head of a run, on a text.

    Args:
      run: from :func:`hopfield_attn.train.trained.load_run`.
      text: any text; framed as ``[CLS] text [SEP]`` and cut to the length of the model.
      layer: index of the layer, from 0.
      head: index of the head, from 0.

    Returns:
      :class:`hopfield_attn.analysis.head_trace.HeadTrace`.

    Raises:
      ValueError: there is no such layer or head, or the task of the run has no text.
    """
    return text_traces(run, text, [(layer, head)])[0]


def text_traces(
    run: TrainedRun, text: str, heads: Sequence[tuple[int, int]], *, max_tokens: int | None = None
) -> list[HeadTrace]:
    """:func:`head_trace` of several (layer, head) pairs, with one pass through the model.

    Args:
      run: the run.
      text: any text.
      heads: (layer, head) pairs, counted from 0.
      max_tokens: cut the sequence to as many, at least 2, ``[CLS]`` and ``[SEP]`` among them;
        ``None``: the length of the model.
    """
    if run.tokenizer is None:
        raise ValueError(f"the task {run.config.task!r} has no text; trace its tokens: trace_heads")
    special = special_ids(run.tokenizer)
    longest = run.config.data.length
    if max_tokens is not None:
        check_count(2, max_tokens=max_tokens)
        longest = min(longest, max_tokens)
    (ids,) = encode_texts(run.tokenizer, [text])
    ids = [special["[CLS]"], *ids[: longest - 2], special["[SEP]"]]
    tokens = [token_label(run.tokenizer, token_id) for token_id in ids]
    encoder = run.definition.bind(run.params).encoder
    return trace_heads(encoder, ids, heads, tokens=tokens)


def token_label(tokenizer: Tokenizer, token_id: int) -> str:
    """A token as people read it: byte-level pieces as their text, without the space before a word.

    A piece that is white space alone is ``␣`` or ``⏎``; one that is a part of a letter is ``�``.

    Example:
      >>> from hopfield_attn.data.tokenizer import train_tokenizer
      >>> tokenizer = train_tokenizer(["one text"], vocab_size=261)
      >>> [token_label(tokenizer, k) for k in (*encode_texts(tokenizer, ["é a"])[0], 2)]
      ['␣', '�', '�', '␣', 'a', '[CLS]']
    """
    symbol = tokenizer.id_to_token(token_id)
    if symbol in SPECIAL_TOKENS or not isinstance(tokenizer.decoder, decoders.ByteLevel):
        return str(symbol)
    text = str(tokenizer.decode([token_id], skip_special_tokens=False))
    return text.strip() or ("⏎" if "\n" in text else "␣")
