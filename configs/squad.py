"""Extractive question answering on SQuAD from scratch: a sanity check, far below a pretrained BERT.

Command:   ./scripts/train --config=configs/squad.py --config.data.dir=SQUAD --workdir=DIR
Smoke:     the same with --config=configs/squad.py:task=squad_v2,smoke

SQUAD is a folder with train-v1.1.json and dev-v1.1.json (task squad), or with train-v2.0.json and
dev-v2.0.json (task squad_v2, where a context may leave a question open); or it is
hub:rajpurkar/squad or hub:rajpurkar/squad_v2, with --config.data.revision=COMMIT.
"""

from configs.defaults import get_defaults, parse_arg, shrink


def get_config(arg: str = ""):
    """Returns the config of ``:task=NAME`` (default squad); ``:task=NAME,smoke`` takes seconds."""
    arg = parse_arg(arg, task="squad", smoke=False)
    config = get_defaults()
    config.task = "qa"
    config.data.task = arg.task

    config.data.vocab_size = 8192
    config.data.length = 384
    config.data.stride = 128

    config.model.width = 256
    config.model.num_layers = 4
    config.model.num_heads = 8
    config.model.mlp_width = 1024
    config.model.heads = "identity:4,quadratic:4"
    config.model.num_steps = 2

    config.optimizer.learning_rate = 3e-4
    config.train.num_steps = 5000
    config.train.batch_size = 32
    config.train.log_every = 50
    config.train.eval_every = 1000
    config.train.checkpoint_every = 500

    if arg.smoke:
        shrink(config)
        config.data.length = 32
        config.data.stride = 8
        config.data.max_question_tokens = 12
        config.data.vocab_size = 300
        config.data.max_train_examples = 64
        config.model.num_layers = 1
    return config
