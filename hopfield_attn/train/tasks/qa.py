"""Extractive question answering: SQuAD 1.1 and 2.0."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from hopfield_attn.checks import check_choice, check_count
from hopfield_attn.data.batches import make_batches
from hopfield_attn.data.qa_decoding import answer_text, decode_questions
from hopfield_attn.data.qa_encoding import encode_evaluation_windows, encode_training_windows
from hopfield_attn.data.squad import SQUAD_VERSIONS, SpanQuestion, read_squad
from hopfield_attn.data.squad_hub import read_squad_hub
from hopfield_attn.models.registry import make_span_predictor
from hopfield_attn.train.answer_metrics import mean_answer_scores
from hopfield_attn.train.losses import weighted_cross_entropy
from hopfield_attn.train.step import Batch
from hopfield_attn.train.tasks.reading import read_splits
from hopfield_attn.train.tasks.task import (
    Blueprint,
    Outputs,
    Task,
    model_maker,
    run_tokenizer,
    token_rows,
)
from hopfield_attn.typing import Array


def qa_task(config: Any, workdir: Path) -> Task:
    """The version of SQuAD ``config.data.task``, from the folder or hub repository ``data.dir``."""
    data = config.data
    check_choice("data.task", data.task, SQUAD_VERSIONS)
    check_count(1, **{"data.max_answer_tokens": data.max_answer_tokens})
    version = SQUAD_VERSIONS[data.task]
    files = f"{' and '.join(version.files.values())}, or hub:rajpurkar/{data.task}"
    train, held_out, facts = read_splits(
        data, read_squad, read_squad_hub, data.task, held_out="dev", files=files
    )
    texts = dict.fromkeys(text for q in train for text in (q.context, q.question))
    tokenizer = run_tokenizer(list(texts), config, workdir)
    options = {
        "length": data.length,
        "stride": data.stride,
        "max_question_tokens": data.max_question_tokens,
    }
    windows = encode_training_windows(tokenizer, train, **options)

    def score(outputs: Outputs) -> dict[str, float]:
        return score_answers(
            outputs,
            held_out,
            max_answer_tokens=data.max_answer_tokens,
            null_threshold=data.null_threshold if version.allows_no_answer else None,
        )

    return Task(
        batches=make_batches(windows, batch_size=config.train.batch_size, seed=config.seed),
        evaluation_sets={"dev": encode_evaluation_windows(tokenizer, held_out, **options)},
        watched_set="dev",
        blueprint=qa_blueprint(data),
        predict_fn=_predict,
        score_fn=score,
        main_metric="f1",
        baselines={},
        facts=facts | {"num_train_rows": len(windows)},
    )


def qa_blueprint(data: Any) -> Blueprint:
    """A span predictor, and the first and the last token of an answer."""
    rows = token_rows(data.length, starts=np.int32, ends=np.int32)
    return Blueprint(model_maker(make_span_predictor, data), span_loss, rows)


def span_loss(model: Any, batch: Batch, rngs: nnx.Rngs | None) -> Array:
    """Mean of the cross-entropies of the answer's first and of its last token, in nats."""
    logits = model(batch["tokens"], batch["mask"], batch["token_types"], rngs=rngs)
    ones = jnp.ones(batch["starts"].shape)
    start, end = (
        weighted_cross_entropy(side, batch[name], ones)
        for side, name in zip(logits, ("starts", "ends"), strict=True)
    )
    return (start + end) / 2


def score_answers(
    outputs: Outputs,
    questions: list[SpanQuestion],
    *,
    max_answer_tokens: int,
    null_threshold: float | None,
) -> dict[str, float]:
    """F1 and exact match of the best span of every question.

    Args:
      outputs: ``start_logits``, ``end_logits``, ``offsets`` and ``questions``, one row a window.
      questions: the questions, by number.
      max_answer_tokens: tokens of the longest answer.
      null_threshold: of :func:`hopfield_attn.data.qa_decoding.answer_text`; ``None``, SQuAD 1.1:
        every question has an answer.
    """
    names = ("start_logits", "end_logits", "offsets", "questions")
    decoded = decode_questions(
        *(outputs[name] for name in names), num_best=1, max_answer_tokens=max_answer_tokens
    )
    texts = [
        answer_text(question.context, decoded[number], null_threshold=null_threshold)
        for number, question in enumerate(questions)
    ]
    answers = [[answer.text for answer in question.answers] for question in questions]
    scores = mean_answer_scores(texts, answers, allows_no_answer=null_threshold is not None)
    return {"f1": scores.f1, "exact_match": scores.exact_match}


def _predict(model: Any, batch: Batch) -> dict[str, Array]:
    start, end = model(batch["tokens"], batch["mask"], batch["token_types"])
    return {"start_logits": start, "end_logits": end}
