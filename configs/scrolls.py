"""Classes of long documents in the format of SCROLLS, in windows or in one long window.

Command:   ./scripts/train --config=configs/scrolls.py --config.data.dir=DATA --workdir=DIR
Smoke:     the same with --config=configs/scrolls.py:smoke
One long:  the same with --config=configs/scrolls.py:input=long

DATA has the folder contract_nli with train.jsonl and validation.jsonl, or it is hub:tau/scrolls,
with --config.data.revision=COMMIT.
"""

from configs.defaults import get_defaults, parse_arg, shrink


def get_config(arg: str = ""):
    """Returns the config; ``:input=long`` is one long window, ``:smoke`` a run of seconds."""
    arg = parse_arg(arg, input="windows", smoke=False)
    if arg.input not in ("windows", "long"):
        raise ValueError(f"input must be 'windows' or 'long'; got {arg.input!r}")
    is_long = arg.input == "long"
    config = get_defaults()
    config.task = "scrolls"
    config.data.task = "contract_nli"

    config.data.vocab_size = 8192
    config.data.length = 4096 if is_long else 512
    config.data.num_windows = 1 if is_long else 8
    config.data.stride = 448

    config.model.num_layers = 2
    config.model.heads = "identity:2,quadratic:2"
    config.model.num_steps = 2
    config.model.pooling = "mean"

    config.optimizer.learning_rate = 3e-4
    config.train.num_steps = 2000
    config.train.batch_size = 16
    config.train.eval_batch_size = 16
    config.train.log_every = 50
    config.train.eval_every = 500
    config.train.checkpoint_every = 250

    if is_long:
        # Weights that are dropped have to be stored, all n² of a head; without, attention goes in
        # blocks. One document at a time.
        config.model.attention_dropout_rate = 0.0
        config.train.accumulate = 16
        config.train.eval_batch_size = 1

    if arg.smoke:
        shrink(config)
        config.data.length = 64 if is_long else 24
        config.data.num_windows = 1 if is_long else 3
        config.data.stride = 12
        config.data.vocab_size = 300
        config.data.max_train_examples = 64
        config.model.num_layers = 1
    return config
