"""Every key a training config has, with its default; the other configs start from here.

The result is locked: a key that is not here is an error, in a config file as on the command line.
Imports nothing of JAX, so that a typo is reported at once.
"""

from ml_collections import config_dict

placeholder = config_dict.placeholder


def get_defaults() -> config_dict.ConfigDict:
    """Returns a fresh, locked copy of the defaults."""
    config = config_dict.create(
        task="mlm",  # "mlm", "glue", "superglue", "qa", "quality", "scrolls" or "synthetic"
        seed=0,  # parameters, order of the data, masking, dropout
        # Heads of a second, linear run on the same data and seed, to compare with; "" is none.
        baseline_heads="",
        data=config_dict.create(
            source="embedded",  # mlm: "embedded", or text files and folders joined with ":"
            # Folder with the task folders (glue, superglue, scrolls) or files (qa, quality); or
            # "hub:REPOSITORY": nyu-mll/glue, aps/super_glue, rajpurkar/squad, rajpurkar/squad_v2,
            # tasksource/QuALITY, tau/scrolls.
            dir="",
            revision="",  # from the hub: its commit, 40 hexadecimal digits
            # glue, superglue, scrolls: which task; qa: "squad" or "squad_v2"; synthetic: "recall",
            # "induction", "match2", "match3", "retrieval" or "brackets".
            task="sst2",
            max_bad_rows=0,  # tasks in a folder: rows left out before one is an error
            vocab_size=2048,  # of the tokenizer that is trained on the training text
            length=64,  # tokens in a sequence, [CLS] and [SEP] included
            packing="documents",  # mlm: rows of joined "documents", or of "lines", padded
            mask_rate=0.15,  # mlm: share of tokens to predict
            whole_words=False,  # mlm: mask all tokens of a word or none
            validation_fraction=0.02,  # mlm: documents for the evaluations during the run
            test_fraction=0.02,  # mlm: documents for the evaluation at the end
            max_train_examples=0,  # tasks in a folder: the first N of the training split; 0 is all
            # glue: batches of rows of similar length, cut to a multiple of so many tokens; 0 is
            # rows of data.length, in any order.
            length_multiple=0,
            stride=128,  # qa, quality, scrolls: tokens from one window start to the next
            num_windows=1,  # quality, scrolls: windows of a document; 1 is one long window
            max_question_tokens=64,  # qa: a question is cut after these
            max_answer_tokens=30,  # qa: tokens of the longest answer
            # qa, squad_v2: no answer where its score is above the best span's by more than this.
            null_threshold=0.0,
            num_pairs=8,  # recall: key-value pairs in a sequence; brackets: pairs of brackets
            num_keys=32,  # recall: different keys
            num_values=16,  # recall: different values; chance is 1 / num_values
            num_queries=1,  # recall, induction: symbols that are asked for
            num_symbols=16,  # induction, retrieval: different symbols
            context_length=16,  # induction: symbols before the queries
            num_tokens=8,  # match2, match3: numbers in a sequence
            modulus=0,  # match2, match3: of the sums; 0 makes half of the answers yes
            num_patterns=4,  # retrieval: stored patterns
            pattern_length=6,  # retrieval: symbols in a pattern
            noise_rate=0.25,  # retrieval: share of the copy that is replaced at random
            num_types=4,  # brackets: types of brackets
            max_depth=4,  # brackets: deepest nesting
            # retrieval: "symbols" or "pattern"; brackets: "type" or "position"; "" is the first.
            answer="",
            num_train_examples=100_000,  # synthetic
            num_eval_examples=2_000,  # synthetic: validation, and as many for the test
            num_threads=1,  # that prepare batches ahead
        ),
        model=config_dict.create(
            # Folder of a Hugging Face BERT to start from; its sizes, activation and tokenizer
            # replace those of this config. "" starts from random parameters.
            pretrained="",
            width=128,
            num_layers=2,
            num_heads=4,
            mlp_width=512,
            norm="post",  # "post" as in BERT, or "pre"
            activation="gelu",  # of the feed-forward part: "gelu", "gelu_tanh" or "relu"
            norm_epsilon=1e-12,  # of the layer norms
            num_positions=0,  # rows of the position table; 0 is data.length
            pooling="cls",  # classifiers: "cls" or "mean"
            dropout_rate=0.1,
            attention_dropout_rate=0.1,
            dtype="float32",  # of the computation; "bfloat16" on accelerators
            remat=False,  # compute layers again in the reverse pass: less memory, more time
            heads="identity",  # e.g. "identity:2,quadratic:2", or one family for all heads
            head_layers="",  # layers that have them, "3-6" counted from 1; "" is all
            coupling="pooled",  # "pooled", "pairwise" or "elementwise"
            lam=1.0,  # λ
            auto_lam=False,  # λ of every head and example: the least that certifies one well
            num_steps=2,  # T
            step_size=placeholder(float),  # η; None is 1/(1+λ)
            gain=placeholder(float),  # s; None is 1/d_v
            alpha_init=0.0,  # α of non-linear heads at the start; 0 starts as linear
            # How steps are differentiated: "unrolled", "rematerialised", "one_step", "implicit".
            gradient_mode="unrolled",
            implementation=placeholder(str),  # of nonlinear_attention; None picks
        ),
        optimizer=config_dict.create(
            learning_rate=1e-3,
            warmup_fraction=0.1,
            decay="linear",  # "linear", "cosine" or "constant"
            weight_decay=0.01,
            clip_norm=1.0,
            b1=0.9,
            b2=0.999,
            alpha_rate=1.0,  # learning rate of α and splines, relative to learning_rate
        ),
        # Devices along each axis; their product is the number of devices, of all hosts together.
        mesh=config_dict.create(
            data=-1,  # split the batch; -1 takes the devices that the others leave
            fsdp=1,  # split the batch, and the parameters and the optimizer state as well
            tensor=1,  # split heads and feed-forward part; divides the heads of every family
            context=1,  # split sequences; divides the tokens of a row
        ),
        train=config_dict.create(
            num_steps=1000,
            batch_size=32,
            accumulate=1,  # parts of the batch that are computed one after the other
            eval_batch_size=64,
            log_every=10,
            eval_every=500,  # evaluation on the validation set; 0 is at the end only
            # Steps from one look at the energies of the non-linear heads to the next, on a batch of
            # the validation set; 0: with the evaluations, -1: never.
            energy_every=0,
            checkpoint_every=250,
            keep_checkpoints=2,
            watchdog_seconds=0.0,  # without a step: end with the stacks of all threads; 0 is never
            peak_flops=0.0,  # of one device, for the utilisation; 0 looks its name up
            max_skipped_steps=10,  # without a finite loss and gradient, in a row; then it stops
            tracking="",  # "tensorboard" or "wandb" as well, with the extra "tracking"
        ),
    )
    return config.lock()


def shrink(config: config_dict.ConfigDict) -> None:
    """Makes a narrow model and a run of eight steps of it, that logs, evaluates and saves."""
    config.model.width = 32
    config.model.mlp_width = 64
    config.train.num_steps = 8
    config.train.batch_size = 8
    config.train.log_every = 2
    config.train.eval_every = 4
    config.train.checkpoint_every = 4


def parse_arg(arg: str, **defaults: str | bool) -> config_dict.ConfigDict:
    """Reads the part of ``--config=FILE.py:ARG`` after the colon: "task=rte,smoke".

    Args:
      arg: comma-separated ``name=value``; a bare name is ``True``.
      **defaults: the names that exist, with their defaults.

    Raises:
      ValueError: for a name that does not exist.
    """
    parsed = config_dict.create(**defaults)
    for part in filter(None, (part.strip() for part in arg.split(","))):
        name, has_value, value = part.partition("=")
        if name not in defaults or isinstance(defaults[name], bool) == bool(has_value):
            known = ", ".join(k if isinstance(v, bool) else f"{k}={v}" for k, v in defaults.items())
            raise ValueError(f"the config takes {known} after the colon; got {part!r}")
        parsed[name] = value if has_value else True
    return parsed
