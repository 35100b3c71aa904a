"""Encoder, task heads, pretrained weights in and out, and the way from a config to a model."""

from hopfield_attn.models.embedding import embed
from hopfield_attn.models.encoder import Encoder
from hopfield_attn.models.export import save_pretrained
from hopfield_attn.models.heads import Classifier, MaskedLanguageModel
from hopfield_attn.models.pretrained import LoadReport, Pretrained, load_pretrained, load_weights

__all__ = [
    "Classifier",
    "Encoder",
    "LoadReport",
    "MaskedLanguageModel",
    "Pretrained",
    "embed",
    "load_pretrained",
    "load_weights",
    "save_pretrained",
]
