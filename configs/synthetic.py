"""Generated tasks whose answers have known source tokens. No data needed.

Command:   ./scripts/train --config=configs/synthetic.py:task=NAME --workdir=DIR
Smoke:     ./scripts/train --config=configs/synthetic.py:task=NAME,smoke --workdir=DIR

NAME is recall, induction, match2, match3, retrieval or brackets (docs/synthetic.md).
"""

from configs.defaults import get_defaults, parse_arg, shrink

DIFFICULTY = {
    "recall": {"num_pairs": 4, "num_keys": 8, "num_values": 8, "num_queries": 2},
    "induction": {"context_length": 16, "num_symbols": 16, "num_queries": 2},
    "match2": {"num_tokens": 16},
    "match3": {"num_tokens": 6},
    "retrieval": {
        "num_patterns": 4,
        "pattern_length": 6,
        "num_symbols": 8,
        "noise_rate": 0.25,
        "answer": "pattern",
    },
    "brackets": {"num_pairs": 10, "num_types": 4, "max_depth": 4},
}


def get_config(arg: str = ""):
    """Returns the config; ``:task=NAME`` picks a task, ``:smoke`` is a run of seconds."""
    arg = parse_arg(arg, task="recall", smoke=False)
    if arg.task not in DIFFICULTY:
        raise ValueError(f"task must be one of {', '.join(DIFFICULTY)}; got {arg.task!r}")
    config = get_defaults()
    config.task = "synthetic"
    config.data.task = arg.task
    config.data.update(DIFFICULTY[arg.task])

    config.model.width = 128
    config.model.mlp_width = 256
    config.model.num_layers = 2
    config.model.heads = "identity:2,quadratic:2"
    config.model.num_steps = 2
    config.model.dropout_rate = 0.0
    config.model.attention_dropout_rate = 0.0

    # Accuracy stays at a cheat's, then rises within some hundred steps.
    config.optimizer.learning_rate = 5e-4
    config.optimizer.decay = "constant"
    config.train.num_steps = 5000
    config.train.batch_size = 64
    config.train.log_every = 50
    config.train.eval_every = 500
    config.train.checkpoint_every = 500

    if arg.smoke:
        shrink(config)
        config.data.num_eval_examples = 64
        config.model.width = 16
        config.model.mlp_width = 32
    return config
