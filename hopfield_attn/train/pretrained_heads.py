"""Whether the heads of a run compute what the learned heads of a pretrained folder compute."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from hopfield_attn.energies.nonlinearities import WITHOUT_ALPHA
from hopfield_attn.models.bert_folder import read_bert_folder
from hopfield_attn.models.bert_names import ALPHA, canonical_name
from hopfield_attn.models.layers import heads_by_layer
from hopfield_attn.nn.heads import HeadGroup, parse_heads

SETTINGS = ("coupling", "lam", "num_steps", "step_size", "gain")


def check_learned_heads(
    model: Any, options: Mapping[str, Any], path: str | os.PathLike[str]
) -> None:
    """Raises ``ValueError`` where a learned α of a folder would belong to another function.

    At α = 0 every setting computes the same, and a run chooses its own.

    Args:
      model: ``config.model`` of the run, with the sizes of the folder.
      options: what the folder says of its heads, of
        :func:`hopfield_attn.models.bert_config.own_options`.
      path: the folder.

    Raises:
      ValueError: for a setting, or the families of a layer, with both values; for heads that the
        layers cannot have.
    """
    theirs = _heads_of_folder(model, options, path)
    changed = _changed_settings(model, options), _changed_heads(model, theirs)
    if not any(changed):
        return
    # The weights are read only where it is to be told whether anything has been learned.
    learned = _learned_layers(theirs, read_bert_folder(path).tensors)
    settings = [*changed[0]] * bool(learned)
    settings += [text for layer, text in changed[1].items() if layer in learned]
    if settings:
        raise ValueError(
            f"model.pretrained={path} has learned heads (α is not 0), which would compute "
            f"something else: {'; '.join(settings)}; set the values of the folder with "
            "--config.model.KEY=VALUE"
        )


def _heads_of_folder(
    model: Any, options: Mapping[str, Any], path: str | os.PathLike[str]
) -> list[tuple[HeadGroup, ...]]:
    specs = options.get("layer_heads", [])
    if len(specs) not in (0, model.num_layers):
        raise ValueError(
            f"{path}: layer_heads must have {model.num_layers} parts, one a layer; got {len(specs)}"
        )
    try:
        return [parse_heads(spec, num_heads=model.num_heads) for spec in specs]
    except ValueError as error:
        raise ValueError(f"{path}: layer_heads: {error}") from None


def _changed_settings(model: Any, options: Mapping[str, Any]) -> list[str]:
    ours = {name: model[name] for name in SETTINGS}
    if model.auto_lam:
        ours["lam"] = "auto"
    return [
        f"model.{name} is {options[name]!r} there and {ours[name]!r} here"
        for name in SETTINGS
        if name in options and options[name] != ours[name]
    ]


def _changed_heads(model: Any, theirs: list[tuple[HeadGroup, ...]]) -> dict[int, str]:
    """Layer → what is different, of the layers whose heads have other families."""
    specs = heads_by_layer(model.heads, model.head_layers, num_layers=model.num_layers)
    ours = [parse_heads(spec, num_heads=model.num_heads) for spec in specs]
    return {
        layer: f"the heads of layer {layer + 1} are {_spec(there)!r} there and {_spec(here)!r} here"
        for layer, (there, here) in enumerate(zip(theirs, ours, strict=False))
        if there != here
    }


def _learned_layers(
    heads: list[tuple[HeadGroup, ...]], tensors: Mapping[str, np.ndarray]
) -> set[int]:
    """Layers whose heads are not linear: α is not 0, or the family takes none."""
    alphas = {canonical_name(name): a for name, a in tensors.items() if name.endswith(ALPHA)}

    def is_learned(layer: int, group: HeadGroup) -> bool:
        if group.family in WITHOUT_ALPHA:
            return group.family != "identity"
        alpha = alphas.get(f"encoder.layer.{layer}.{ALPHA}", np.zeros(0))
        return bool(np.any(np.ravel(alpha)[group.heads]))

    return {
        layer for layer, groups in enumerate(heads) if any(is_learned(layer, g) for g in groups)
    }


def _spec(groups: tuple[HeadGroup, ...]) -> str:
    return ",".join(f"{group.family}:{group.stop - group.start}" for group in groups)
