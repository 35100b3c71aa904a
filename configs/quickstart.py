"""The main job: a small BERT-like encoder, half of its heads non-linear, on text every Python has.

Command:   ./scripts/quickstart
Smoke:     ./scripts/quickstart --smoke
Expected:  test accuracy 0.127 with quadratic heads and 0.128 all-linear, where the commonest piece
           is 0.032 (Python 3.11.7, whose documentation is the text; experiments/00_quickstart)

Trains the mixed encoder and an all-linear one (same seed, data and number of parameters) as masked
language models on CPython's own documentation.
"""

from configs.defaults import get_defaults, parse_arg, shrink


def get_config(arg: str = ""):
    """Returns the config; ``:smoke`` is the same in a few seconds, for tests."""
    arg = parse_arg(arg, smoke=False)
    config = get_defaults()
    config.task = "mlm"
    config.baseline_heads = "identity"

    # Small pieces, short rows and many of them: attention to neighbours is learnt within minutes.
    config.data.vocab_size = 1024
    config.data.length = 32
    config.data.mask_rate = 0.2

    config.model.num_layers = 2
    config.model.num_heads = 4
    config.model.heads = "identity:2,quadratic:2"
    config.model.num_steps = 2
    config.model.alpha_init = 0.0
    config.model.dropout_rate = 0.0
    config.model.attention_dropout_rate = 0.0

    config.optimizer.learning_rate = 1.5e-3
    config.optimizer.b2 = 0.98
    config.train.num_steps = 1500
    config.train.batch_size = 32
    config.train.eval_every = 500

    if arg.smoke:
        shrink(config)
        config.data.length = 24
        config.data.vocab_size = 512
        config.model.num_layers = 2
        config.train.num_steps = 12
        config.train.eval_every = 6
    return config
