"""Writes minilm_golden.json anew, from transformers on torch.

python -m tests.models.make_minilm_golden
"""

import importlib.metadata

import numpy as np

from hopfield_attn.files import write_json
from tests.models.minilm import GOLDEN, cases, require_weights, sample


def states_of(tokens, mask):
    """The last hidden states of transformers' BertModel."""
    # Not at the top: pytest imports this file to look for doctests, also where torch is absent.
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(require_weights(), attn_implementation="eager")
    with torch.no_grad():
        return model.eval()(
            input_ids=torch.tensor(np.asarray(tokens)),
            attention_mask=torch.tensor(np.asarray(mask).astype(int)),
        ).last_hidden_state.numpy()


if __name__ == "__main__":
    figures = {
        name: [round(float(x), 6) for x in sample(states_of(tokens, mask), mask)]
        for name, (tokens, mask) in cases().items()
    }
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
    write_json(GOLDEN, {"made_with": versions, "states": figures})
