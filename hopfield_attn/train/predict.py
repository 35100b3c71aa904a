"""Predictions of a trained run for text that has no labels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from hopfield_attn.checks import check_choice, check_count
from hopfield_attn.data.glue_encoding import encode_examples
from hopfield_attn.data.glue_tasks import Example, GlueTask, find_task
from hopfield_attn.data.tokenizer import encode_texts, special_ids
from hopfield_attn.train.evaluate import predict_rows
from hopfield_attn.train.step import Batch, make_predict_step
from hopfield_attn.train.trained import TrainedRun
from hopfield_attn.typing import Array

MASK = "[MASK]"


class Guess(NamedTuple):
    """A token for a masked place, as text, and its probability."""

    token: str
    probability: float


def glue_task_of(run: TrainedRun) -> GlueTask:
    """The GLUE task that a run was trained on.

    Raises:
      ValueError: it was trained on something else.
    """
    check_choice("the task of a run that labels sentences", run.config.task, ("glue",))
    return find_task(run.config.data.task)


def make_example(task: GlueTask, text: str, text2: str | None) -> Example:
    """An example without a label, from one sentence or two, whichever the task takes.

    Raises:
      ValueError: the second sentence is missing, or one too many.

    Example:
      >>> make_example(find_task("sst2"), " a fine film ", None)
      Example(sentence1='a fine film', sentence2=None, label=None)
    """
    is_pair = task.sentence2 is not None
    if is_pair != (text2 is not None):
        given = "two" if text2 is not None else "one"
        raise ValueError(
            f"the task {task.folder} takes {'two sentences' if is_pair else 'one sentence'}; "
            f"got {given}"
        )
    return Example(text.strip(), None if text2 is None else text2.strip(), None)


def predict_examples(run: TrainedRun, examples: Sequence[Example]) -> Float[np.ndarray, "n labels"]:
    """What the model of a GLUE run says of examples.

    Args:
      run: a trained run of a GLUE task.
      examples: at least one; labels are not read.

    Returns:
      (n, num_labels) probabilities of the classes in the order of ``task.label_names``; or, for a
      task with scores, the score in one column. float32.

    Raises:
      ValueError: the run is of another task, or there is no example.
    """
    is_score = glue_task_of(run).label_names is None
    assert run.tokenizer is not None
    unlabelled = [example._replace(label=None) for example in examples]
    rows = encode_examples(run.tokenizer, unlabelled, length=run.config.data.length)

    def outputs_of(model: Any, batch: Batch) -> dict[str, Array]:
        logits = model(batch["tokens"], batch["mask"], batch["token_types"])
        return {"outputs": logits if is_score else jax.nn.softmax(logits)}

    predict_step = make_predict_step(run.definition, outputs_of)
    batch_size = run.config.train.eval_batch_size
    return predict_rows(rows, run.params, predict_step, batch_size=batch_size)["outputs"]


def fill_masks(run: TrainedRun, text: str, *, num_guesses: int) -> list[list[Guess]]:
    """The likeliest tokens for each ``[MASK]`` in a text.

    Args:
      run: a trained masked-language model.
      text: one or more ``[MASK]``, each standing for one token, with the white space before it;
        what follows without white space goes on with the same word.
      num_guesses: how many tokens for each mask.

    Returns:
      For each mask, in order, tokens from the likeliest down.

    Raises:
      ValueError: the run is of another task, the text has no mask, or is too long for the model.
    """
    check_choice("the task of a run that fills [MASK]", run.config.task, ("mlm",))
    check_count(1, num_guesses=num_guesses)
    assert run.tokenizer is not None
    batch = _masked_row(run.tokenizer, text, length=run.config.data.length)

    def probabilities_of(model: Any, batch: Batch) -> dict[str, Array]:
        logits = model(batch["tokens"], batch["mask"], batch["positions"])
        return {"probabilities": jax.nn.softmax(logits)}

    predict_step = make_predict_step(run.definition, probabilities_of)
    (probabilities,) = np.asarray(predict_step(run.params, batch)["probabilities"])
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :num_guesses]
    return [
        [Guess(_as_text(run.tokenizer, int(k)), float(row[k])) for k in ids]
        for row, ids in zip(probabilities, best, strict=True)
    ]


def _masked_row(tokenizer: Tokenizer, text: str, *, length: int) -> Batch:
    """The text as a batch of one row, framed as in training, and the places of its masks."""
    if MASK not in text:
        raise ValueError(f"the text must have a {MASK} for each token to guess; got {text!r}")
    special = special_ids(tokenizer)
    ids = [special["[CLS]"]]
    positions = []
    for piece in _encode_around_masks(tokenizer, text):
        ids += piece
        positions.append(len(ids))
        ids.append(special[MASK])
    # The text ends after the last piece, where there is no mask.
    positions.pop()
    ids[-1] = special["[SEP]"]
    if len(ids) > length:
        raise ValueError(f"the text has {len(ids)} tokens with its frame; the model takes {length}")
    tokens = np.full((1, length), special["[PAD]"], dtype=np.int32)
    tokens[0, : len(ids)] = ids
    mask = np.arange(length)[None] < len(ids)
    columns = {"tokens": tokens, "mask": mask, "positions": np.array([positions], dtype=np.int32)}
    return {name: jnp.asarray(column) for name, column in columns.items()}


def _encode_around_masks(tokenizer: Tokenizer, text: str) -> list[list[int]]:
    """The ids of the text before, between and after the masks, as where tokens stand for them."""
    pieces = text.split(MASK)
    # White space before a mask belongs to the token that stands for it, that behind it to the next.
    stripped = [piece.strip() for piece in pieces]
    apart = encode_texts(tokenizer, stripped)
    joined = encode_texts(_without_prefix_space(tokenizer), stripped)
    is_apart = [True, *(piece[:1].isspace() for piece in pieces[1:])]
    return [a if chosen else j for a, j, chosen in zip(apart, joined, is_apart, strict=True)]


def _without_prefix_space(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that takes a text for the rest of a longer one: "." is then no word of its own."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    if isinstance(copy.pre_tokenizer, ByteLevel):
        copy.pre_tokenizer.add_prefix_space = False
    return copy


def _as_text(tokenizer: Tokenizer, token_id: int) -> str:
    """A token as text, with the white space before it; a part of a character as it is stored."""
    text = tokenizer.decode([token_id], skip_special_tokens=False)
    stored = tokenizer.id_to_token(token_id)
    return stored or "" if not text or "\ufffd" in text else text
