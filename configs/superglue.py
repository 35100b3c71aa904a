"""A SuperGLUE task from scratch: no pretraining, so far below a pretrained BERT.

Command:   ./scripts/train --config=configs/superglue.py --config.data.dir=DATA --workdir=DIR
Smoke:     the same with --config=configs/superglue.py:task=cb,smoke

DATA has the task folders of the official archives: BoolQ, CB, COPA, MultiRC, ReCoRD, RTE, WiC, WSC;
or it is hub:aps/super_glue, with --config.data.revision=COMMIT. Tasks: boolq, cb, copa, multirc,
record, rte, wic, wsc. ReCoRD and MultiRC have one row a candidate answer: data.max_train_examples
counts questions.
"""

from configs.defaults import get_defaults, parse_arg, shrink


def get_config(arg: str = ""):
    """Returns the config of ``:task=NAME`` (default boolq); ``:task=NAME,smoke`` takes seconds."""
    arg = parse_arg(arg, task="boolq", smoke=False)
    config = get_defaults()
    config.task = "superglue"
    config.data.task = arg.task

    is_long = arg.task in ("boolq", "multirc", "record")
    # A tokenizer needs repeated pairs for each id: 400 rows of COPA have them for about 1,500.
    is_small = arg.task in ("cb", "copa", "wsc")
    config.data.vocab_size = 8192 if is_long else 1024 if is_small else 2048
    # Both marked words of WSC have to fit.
    config.data.length = 256 if is_long or arg.task == "wsc" else 128

    config.model.num_layers = 2
    config.model.heads = "identity:2,quadratic:2"
    config.model.num_steps = 2
    config.model.pooling = "mean"
    config.model.dropout_rate = 0.2

    config.optimizer.learning_rate = 1e-3
    config.train.num_steps = 2000 if is_long else 500
    config.train.batch_size = 32
    config.train.log_every = 50
    config.train.eval_every = 500
    config.train.checkpoint_every = 250

    if arg.smoke:
        shrink(config)
        config.data.length = 32
        config.data.vocab_size = 300
        config.data.max_train_examples = 64
        config.model.num_layers = 1
    return config
