"""A trained run as a folder for transformers."""

import numpy as np
import pytest

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


def test_a_run_of_a_generated_task_is_not_exported_without_its_head(recall, tmp_path):
    with pytest.raises(ValueError, match="the head of a generated task.* has no counterpart"):
        export_run(recall.config, recall.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
