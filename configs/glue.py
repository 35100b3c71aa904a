"""A GLUE task from scratch: no pretraining, so far below a pretrained BERT.

Command:   ./scripts/train --config=configs/glue.py:task=sst2 --config.data.dir=GLUE --workdir=DIR
Smoke:     the same with --config=configs/glue.py:task=sst2,smoke

GLUE is a folder with the task folders of the official archive: CoLA, SST-2, MRPC, STS-B, QQP, MNLI,
QNLI, RTE, WNLI. Tasks: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli.
"""

from configs.defaults import get_defaults, parse_arg, shrink


def get_config(arg: str = ""):
    """Returns the config of ``:task=NAME`` (default sst2); ``:task=NAME,smoke`` takes seconds."""
    arg = parse_arg(arg, task="sst2", smoke=False)
    config = get_defaults()
    config.task = "glue"
    config.data.task = arg.task

    is_single = arg.task in ("cola", "sst2")
    config.data.vocab_size = 8192
    config.data.length = 48 if is_single else 128

    config.model.num_layers = 2
    config.model.heads = "identity:2,quadratic:2"
    config.model.num_steps = 2
    config.model.pooling = "mean"
    config.model.dropout_rate = 0.2

    config.optimizer.learning_rate = 1e-3
    config.train.num_steps = 2000 if arg.task in ("sst2", "qqp", "mnli", "qnli") else 1000
    config.train.batch_size = 32
    config.train.log_every = 50
    config.train.eval_every = 1000
    config.train.checkpoint_every = 500

    if arg.smoke:
        shrink(config)
        config.data.length = 16
        config.data.vocab_size = 300
        config.data.max_train_examples = 256
    return config
