"""Masked-language modelling on text of your own.

Command:   ./scripts/train --config=configs/mlm.py --config.data.source=FILE_OR_FOLDER --workdir=DIR
Smoke:     ./scripts/train --config=configs/mlm.py:smoke --workdir=DIR
BERT-base: ./scripts/train --config=configs/mlm.py:size=base --config.data.source=… --workdir=DIR
           for accelerators: 12 layers × 768, 512 tokens, bfloat16, 4 of 12 heads non-linear
"""

from configs.defaults import get_defaults, parse_arg, shrink


def get_config(arg: str = ""):
    """Returns the config; ``:size=base`` is BERT-base, ``:smoke`` a run of seconds."""
    arg = parse_arg(arg, smoke=False, size="small")
    if arg.size not in ("small", "base"):
        raise ValueError(f"size must be 'small' or 'base'; got {arg.size!r}")
    config = get_defaults()
    config.task = "mlm"

    config.data.vocab_size = 8192
    config.data.length = 128

    config.model.width = 256
    config.model.num_layers = 4
    config.model.num_heads = 8
    config.model.mlp_width = 1024
    config.model.heads = "identity:4,quadratic:4"
    config.model.num_steps = 2

    config.optimizer.learning_rate = 1e-3
    config.optimizer.b2 = 0.98
    config.train.num_steps = 20_000
    config.train.batch_size = 64
    config.train.log_every = 50
    config.train.eval_every = 1000
    config.train.checkpoint_every = 1000

    if arg.size == "base":
        config.data.vocab_size = 30_522
        config.data.length = 512
        config.model.width = 768
        config.model.num_layers = 12
        config.model.num_heads = 12
        config.model.mlp_width = 3072
        config.model.dtype = "bfloat16"
        config.model.heads = "identity:8,quadratic:4"
        config.optimizer.learning_rate = 1e-4
        config.optimizer.b2 = 0.999
        config.train.num_steps = 100_000
        config.train.batch_size = 32

    if arg.smoke:
        shrink(config)
        config.data.length = 24
        config.data.vocab_size = 512
        config.model.num_layers = 2
        config.model.num_heads = 8
        config.model.heads = "identity:4,quadratic:4"
    return config
