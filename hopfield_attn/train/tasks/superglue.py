"""The SuperGLUE tasks: pairs, multiple choice, marked words, and questions with candidates."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from hopfield_attn.checks import check_choice
from hopfield_attn.data.batches import make_batches
from hopfield_attn.data.candidate_encoding import candidate_rows, encode_candidates
from hopfield_attn.data.choice_encoding import choice_rows, encode_choices
from hopfield_attn.data.examples import CandidateQuestion, ChoiceQuestion, SpanPair
from hopfield_attn.data.glue_encoding import encode_examples
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.source import ArraySource
from hopfield_attn.data.span_encoding import encode_span_pairs
from hopfield_attn.data.superglue import read_superglue
from hopfield_attn.data.superglue_hub import read_superglue_hub
from hopfield_attn.data.superglue_tasks import SUPERGLUE_TASKS, SuperGlueTask
from hopfield_attn.models.registry import (
    make_classifier,
    make_multiple_choice,
    make_span_pair_classifier,
)
from hopfield_attn.train.answer_metrics import mean_answer_scores
from hopfield_attn.train.group_metrics import best_of_groups, group_exact_match
from hopfield_attn.train.metrics import f1
from hopfield_attn.train.step import Batch, LossFn
from hopfield_attn.train.tasks.class_logits import (
    LogitsFn,
    majority_accuracy,
    make_class_loss,
    make_class_predictions,
    make_scorer,
    row_logits,
)
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


def superglue_task(config: Any, workdir: Path) -> Task:
    """The SuperGLUE task ``config.data.task``, from the folder or hub repository ``data.dir``."""
    data = config.data
    spec = _find_task(data.task)
    kind = _KINDS[spec.kind]
    files = "the SuperGLUE task folders (BoolQ, CB, …), or hub:aps/super_glue"
    train, held_out, facts = read_splits(
        data,
        read_superglue,
        read_superglue_hub,
        data.task,
        held_out="val",
        files=files,
    )
    texts = dict.fromkeys(text for example in train for text in kind.texts(example))
    tokenizer = run_tokenizer(list(texts), config, workdir)
    sources = [kind.encode(tokenizer, rows, length=data.length) for rows in (train, held_out)]
    if spec.kind == "candidates":
        baselines, score_fn = {}, _CANDIDATE_SCORERS[data.task](held_out)
    else:
        baselines = {"majority_accuracy": majority_accuracy(sources[1].arrays["labels"])}
        score_fn = make_scorer(spec.metrics)
    return Task(
        batches=make_batches(sources[0], batch_size=config.train.batch_size, seed=config.seed),
        evaluation_sets={"val": sources[1]},
        watched_set="val",
        blueprint=superglue_blueprint(data),
        predict_fn=make_class_predictions(kind.logits_fn),
        score_fn=score_fn,
        main_metric=spec.metrics[0],
        baselines=baselines,
        facts=facts | {"num_train_rows": len(sources[0])},
    )


def superglue_blueprint(data: Any) -> Blueprint:
    """The model of the kind of the SuperGLUE task ``data.task``."""
    spec = _find_task(data.task)
    kind = _KINDS[spec.kind]
    num_labels = len(spec.label_names)
    options = {} if spec.kind == "choice" else {"num_outputs": num_labels}
    # The choices of a question are its classes, a row each.
    shape = (num_labels, data.length) if spec.kind == "choice" else (data.length,)
    rows = token_rows(*shape, labels=np.int32)
    if spec.kind == "spans":
        rows["spans"] = jax.ShapeDtypeStruct((2, 2), np.int32)
    return Blueprint(model_maker(kind.make_model, data, **options), kind.loss_fn, rows)


def _find_task(name: str) -> SuperGlueTask:
    check_choice("data.task", name, SUPERGLUE_TASKS)
    return SUPERGLUE_TASKS[name]


class _Kind(NamedTuple):
    """What the tasks of a kind have in common.

    Attributes:
      texts: example → the texts to learn a tokenizer from.
      encode: (tokenizer, examples, length) → rows.
      make_model: (config.model, vocab_size, max_length, …, seed) → module.
      logits_fn: (model, batch, rngs) → logits.
      loss_fn: their cross-entropy.
    """

    texts: Callable[[Any], Iterator[str]]
    encode: Callable[..., ArraySource]
    make_model: Callable[..., nnx.Module]
    logits_fn: LogitsFn
    loss_fn: LossFn


_row_loss = make_class_loss(row_logits)


def _span_logits(model: Any, batch: Batch, rngs: nnx.Rngs | None) -> Array:
    return model(batch["tokens"], batch["mask"], batch["token_types"], batch["spans"], rngs=rngs)


def _pair_texts(example: Example) -> Iterator[str]:
    yield from (text for text in (example.sentence1, example.sentence2) if text)


def _choice_texts(question: ChoiceQuestion) -> Iterator[str]:
    for row in choice_rows([question]):
        yield from _pair_texts(row)


def _span_texts(example: SpanPair) -> Iterator[str]:
    yield from (text for text in (example.text1, example.text2) if text)


def _candidate_texts(question: CandidateQuestion) -> Iterator[str]:
    for row in candidate_rows(question):
        yield from _pair_texts(row)


_KINDS = {
    "pair": _Kind(_pair_texts, encode_examples, make_classifier, row_logits, _row_loss),
    "choice": _Kind(_choice_texts, encode_choices, make_multiple_choice, row_logits, _row_loss),
    "spans": _Kind(
        _span_texts,
        encode_span_pairs,
        make_span_pair_classifier,
        _span_logits,
        make_class_loss(_span_logits),
    ),
    "candidates": _Kind(
        _candidate_texts, encode_candidates, make_classifier, row_logits, _row_loss
    ),
}


def _multirc_scorer(
    questions: Sequence[CandidateQuestion],
) -> Callable[[Outputs], dict[str, float]]:
    """F1 over all answers, and the share of questions with all of their answers right."""
    return lambda outputs: {
        "f1a": f1(outputs["predictions"], outputs["labels"]),
        "exact_match": group_exact_match(
            outputs["predictions"], outputs["labels"], outputs["groups"]
        ),
    }


def _record_scorer(
    questions: Sequence[CandidateQuestion],
) -> Callable[[Outputs], dict[str, float]]:
    """F1 and exact match of the text of each question's likeliest candidate."""

    def score(outputs: Outputs) -> dict[str, float]:
        logits = outputs["logits"]
        best = best_of_groups(np.subtract(logits[:, 1], logits[:, 0]), outputs["groups"])
        chosen = [
            questions[group].candidates[outputs["candidates"][row]] for group, row in best.items()
        ]
        answers = [questions[group].answers for group in best]
        scores = mean_answer_scores(chosen, answers, allows_no_answer=False)
        return {"f1": scores.f1, "exact_match": scores.exact_match}

    return score


_CANDIDATE_SCORERS = {"multirc": _multirc_scorer, "record": _record_scorer}
