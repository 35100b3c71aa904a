"""A trained run as a folder for transformers."""

import numpy as np

from hopfield_attn.data.glue_encoding import encode_examples
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.tokenizer import load_tokenizer
from hopfield_attn.train.export_run import export_run


def test_the_exported_tokenizer_frames_pairs_as_the_run_was_trained(stsb, tmp_path):
    export_run(stsb.config, stsb.folder, tmp_path)
    pair = "A walk.", "singing, painting"
    encoding = load_tokenizer(tmp_path / "tokenizer.json").encode(*pair)
    own = load_tokenizer(stsb.folder / "tokenizer.json")
    (row,) = encode_examples(own, [Example(*pair, None)], length=len(encoding.ids))
    assert np.all(row["mask"])
    assert encoding.ids == row["tokens"].tolist()
    assert encoding.type_ids == row["token_types"].tolist()
