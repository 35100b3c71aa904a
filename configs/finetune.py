"""A pretrained BERT on a GLUE task, some of its heads non-linear, α starting at 0.

Command:   ./scripts/train --config=configs/finetune.py:task=rte --config.model.pretrained=BERT
             --config.data.dir=GLUE --workdir=DIR
Smoke:     the same with --config=configs/finetune.py:task=rte,smoke

BERT is a folder with config.json, model.safetensors and tokenizer.json or vocab.txt: any BERT of
Hugging Face, or one that ./scripts/convert made. GLUE is as in configs/glue.py. Heads and layers
below are for 12 heads and 6 layers (MiniLM-L6); sizes come from the folder.
"""

from configs.defaults import get_defaults, parse_arg, shrink

NUM_STEPS = {"cola": 800, "rte": 400, "stsb": 540, "mrpc": 350, "wnli": 100}
"""About three epochs of 32 examples (RTE and WNLI: five); the large tasks take 1,500 steps."""
LENGTHS = {"cola": 48, "sst2": 64, "stsb": 64, "mrpc": 96, "qqp": 64}


def get_config(arg: str = ""):
    """Returns the config of ``:task=NAME`` (default sst2); ``:task=NAME,smoke`` takes seconds."""
    arg = parse_arg(arg, task="sst2", smoke=False)
    config = get_defaults()
    config.task = "glue"
    config.data.task = arg.task
    config.data.length = LENGTHS.get(arg.task, 128)

    config.model.pretrained = "BERT"
    config.model.width = 384
    config.model.num_layers = 6
    config.model.num_heads = 12
    config.model.mlp_width = 1536
    config.model.heads = "quadratic:4,identity:8"
    config.model.head_layers = "3-6"
    config.model.num_steps = 2
    config.model.pooling = "mean"

    config.optimizer.learning_rate = 1e-4
    # α starts at 0 and has a few hundred steps: it needs larger ones than the weights.
    config.optimizer.alpha_rate = 50.0
    config.train.num_steps = NUM_STEPS.get(arg.task, 1500)
    config.train.batch_size = 32
    config.train.log_every = 20
    config.train.eval_every = 0
    config.train.checkpoint_every = 200 if config.train.num_steps > 200 else 50

    if arg.smoke:
        shrink(config)
        config.data.length = 16
        config.data.max_train_examples = 64
        config.model.width = 24
        config.model.mlp_width = 48
    return config
