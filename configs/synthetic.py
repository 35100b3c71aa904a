"""Associative recall: read key-value pairs, then a key, and answer with its value. No data needed.

Command:   ./scripts/train --config=configs/synthetic.py --workdir=DIR
Smoke:     ./scripts/train --config=configs/synthetic.py:smoke --workdir=DIR
"""

from configs.defaults import get_defaults, parse_arg


def get_config(arg: str = ""):
    """Returns the config; ``:smoke`` is a run of seconds."""
    arg = parse_arg(arg, smoke=False)
    config = get_defaults()
    config.task = "recall"

    config.data.num_pairs = 4
    config.data.num_keys = 8
    config.data.num_values = 8

    config.model.width = 128
    config.model.mlp_width = 256
    config.model.num_layers = 2
    config.model.pooling = "mean"
    config.model.heads = "identity:2,quadratic:2"
    config.model.num_steps = 2
    config.model.dropout_rate = 0.0
    config.model.attention_dropout_rate = 0.0

    # Accuracy stays at a guess among the values shown, then rises within some hundred steps.
    config.optimizer.learning_rate = 5e-4
    config.optimizer.decay = "constant"
    config.train.num_steps = 5000
    config.train.batch_size = 64
    config.train.log_every = 50
    config.train.eval_every = 500
    config.train.checkpoint_every = 500

    if arg.smoke:
        config.data.num_eval_examples = 64
        config.model.width = 16
        config.model.mlp_width = 32
        config.train.num_steps = 8
        config.train.batch_size = 8
        config.train.log_every = 2
        config.train.eval_every = 4
        config.train.checkpoint_every = 4
    return config
