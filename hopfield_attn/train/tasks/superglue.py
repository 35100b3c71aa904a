"""The SuperGLUE tasks: pairs, multiple choice, marked words, and questions with candidates."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
from hopfield_attn.data.superglue_tasks import SUPERGLUE_TASKS
from hopfield_attn.models.registry import (
    make_classifier,
    make_multiple_choice,
    make_span_pair_classifier,
)
from hopfield_attn.train.answer_metrics import mean_answer_scores
from hopfield_attn.train.group_metrics import best_of_groups, group_exact_match
from hopfield_attn.train.metrics import f1
from hopfield_attn.train.step import Batch
from hopfield_attn.train.tasks.class_logits import (
    LogitsFn,
    majority_accuracy,
    make_class_loss,
    make_class_predictions,
    make_scorer,
    row_logits,
)
from hopfield_attn.train.tasks.reading import read_splits
from hopfield_attn.train.tasks.task import Outputs, Task, run_tokenizer
from hopfield_attn.typing import Array


def superglue_task(config: Any, workdir: Path) -> Task:
    """The SuperGLUE task ``config.data.task``, from the local folder ``config.data.dir``."""
    data = config.data
    check_choice("data.task", data.task, SUPERGLUE_TASKS)
    spec = SUPERGLUE_TASKS[data.task]
    kind = _KINDS[spec.kind]
    files = "the SuperGLUE task folders (BoolQ, CB, …)"
    train, held_out, facts = read_splits(
        data, read_superglue, data.task, held_out="val", files=files
    )
    texts = dict.fromkeys(text for example in train for text in kind.texts(example))
    tokenizer = run_tokenizer(list(texts), config, workdir)
    sources = [kind.encode(tokenizer, rows, length=data.length) for rows in (train, held_out)]
    options: dict[str, int] = (
        {} if spec.kind == "choice" else {"num_outputs": len(spec.label_names)}
    )

    def make_model(model_config: Any, seed: int) -> nnx.Module:
        sizes = {"vocab_size": data.vocab_size, "max_length": data.length}
        return kind.make_model(model_config, **sizes, **options, seed=seed)

    if spec.kind == "candidates":
        baselines, score_fn = {}, _CANDIDATE_SCORERS[data.task](held_out)
    else:
        baselines = {"majority_accuracy": majority_accuracy(sources[1].arrays["labels"])}
        score_fn = make_scorer(spec.metrics)
    return Task(
        batches=make_batches(sources[0], batch_size=config.train.batch_size, seed=config.seed),
        evaluation_sets={"val": sources[1]},
        watched_set="val",
        make_model=make_model,
        loss_fn=make_class_loss(kind.logits_fn),
        predict_fn=make_class_predictions(kind.logits_fn),
        score_fn=score_fn,
        main_metric=spec.metrics[0],
        baselines=baselines,
        facts=facts | {"num_train_rows": len(sources[0])},
    )


class _Kind(NamedTuple):
    """What the tasks of a kind have in common.

    Attributes:
      texts: example → the texts to learn a tokenizer from.
      encode: (tokenizer, examples, length) → rows.
      make_model: (config.model, vocab_size, max_length, …, seed) → module.
      logits_fn: (model, batch, rngs) → logits.
    """

    texts: Callable[[Any], Iterator[str]]
    encode: Callable[..., ArraySource]
    make_model: Callable[..., nnx.Module]
    logits_fn: LogitsFn


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
    "pair": _Kind(_pair_texts, encode_examples, make_classifier, row_logits),
    "choice": _Kind(_choice_texts, encode_choices, make_multiple_choice, row_logits),
    "spans": _Kind(_span_texts, encode_span_pairs, make_span_pair_classifier, _span_logits),
    "candidates": _Kind(_candidate_texts, encode_candidates, make_classifier, row_logits),
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
