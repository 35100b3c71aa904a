"""Masked-language modelling on text."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from hopfield_attn.checks import check_at_least, check_choice
from hopfield_attn.data import baselines, corpus, masking
from hopfield_attn.data import tokenizer as tokenizers
from hopfield_attn.data.batches import make_batches
from hopfield_attn.models.registry import make_masked_language_model
from hopfield_attn.train.losses import weighted_cross_entropy
from hopfield_attn.train.step import Batch
from hopfield_attn.train.tasks.task import (
    Blueprint,
    Outputs,
    Task,
    model_maker,
    run_tokenizer,
    token_rows,
)
from hopfield_attn.typing import Array

PACKINGS = {"documents": masking.pack_tokens, "lines": masking.line_tokens}
"""Name of a packing → (token ids of the texts) → rows."""


def mlm_task(config: Any, workdir: Path) -> Task:
    """Masked-language modelling of ``config.data.source``, split into documents by content."""
    data, blueprint = config.data, mlm_blueprint(config.data)
    documents = corpus.load_documents(data.source, by_line=data.packing == "lines")
    split = corpus.split_documents(
        documents,
        validation_fraction=data.validation_fraction,
        test_fraction=data.test_fraction,
    )
    tokenizer = run_tokenizer(split.train, config, workdir)
    special = tokenizers.special_ids(tokenizer)
    make_rows = PACKINGS[data.packing]

    def rows_of(texts: list[str]) -> Any:
        encoded = tokenizers.encode_documents(tokenizer, texts)
        return make_rows(encoded, length=data.length, special=special)

    train, validation, test = map(rows_of, split)
    options = {
        "mask_rate": data.mask_rate,
        "vocab_size": data.vocab_size,
        "special": special,
        "starts": tokenizers.word_starts(tokenizer) if data.whole_words else None,
    }
    test_set = masking.mask_rows(test, seed=1, **options)
    targets = test_set.arrays["labels"], test_set.arrays["label_weights"]

    return Task(
        batches=make_batches(
            train,
            batch_size=config.train.batch_size,
            seed=config.seed,
            transform=lambda row, rng: masking.mask_tokens(row, rng, **options),
        ),
        evaluation_sets={
            "validation": masking.mask_rows(validation, seed=0, **options),
            "test": test_set,
        },
        watched_set="validation",
        blueprint=blueprint,
        predict_fn=_predict,
        score_fn=_score,
        main_metric="accuracy",
        baselines={
            "unigram_accuracy": baselines.unigram_accuracy(train, *targets, special=special),
            "unigram_loss": baselines.unigram_cross_entropy(
                train, *targets, vocab_size=data.vocab_size, special=special
            ),
        },
        facts={
            "corpus_sha256": corpus.corpus_fingerprint(documents),
            "num_documents": {side: len(getattr(split, side)) for side in split._fields},
            "num_train_rows": len(train),
        },
    )


def mlm_blueprint(data: Any) -> Blueprint:
    """A masked-language model, and rows with a slot for every token that can be masked."""
    check_choice("data.packing", data.packing, PACKINGS)
    for name in ("validation_fraction", "test_fraction"):
        # Both sets are scored: neither may be empty.
        check_at_least(0, exclusive=True, **{f"data.{name}": data[name]})
    slots = masking.num_masked(data.length, mask_rate=data.mask_rate)
    rows = token_rows(data.length)
    del rows["token_types"]
    per_slot = {"positions": np.int32, "labels": np.int32, "label_weights": np.float32}
    rows |= {name: jax.ShapeDtypeStruct((slots,), dtype) for name, dtype in per_slot.items()}
    return Blueprint(model_maker(make_masked_language_model, data), mlm_loss, rows, mlm_weight)


def mlm_loss(model: Any, batch: Batch, rngs: nnx.Rngs | None) -> Array:
    """Mean cross-entropy of the masked tokens, in nats."""
    logits = model(batch["tokens"], batch["mask"], batch["positions"], rngs=rngs)
    return weighted_cross_entropy(logits, batch["labels"], batch["label_weights"])


def mlm_weight(batch: Batch) -> Array:
    """Number of masked tokens, over which the loss is a mean."""
    return jnp.sum(batch["label_weights"])


def _predict(model: Any, batch: Batch) -> dict[str, Array]:
    logits = model(batch["tokens"], batch["mask"], batch["positions"])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"])
    return {"predictions": jnp.argmax(logits, axis=-1), "losses": losses}


def _score(outputs: Outputs) -> dict[str, float]:
    weights = outputs["label_weights"]
    correct = outputs["predictions"] == outputs["labels"]
    return {
        "accuracy": float(np.average(correct, weights=weights)),
        "loss": float(np.average(outputs["losses"], weights=weights)),
    }
