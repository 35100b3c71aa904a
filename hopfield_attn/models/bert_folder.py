"""A Hugging Face BERT folder on disk: config, safetensors and tokenizer; no pickle is opened."""

import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError
from tokenizers import Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer

from hopfield_attn.checks import printable
from hopfield_attn.data.framing import with_frame
from hopfield_attn.data.tokenizer import (
    check_tokenizer,
    load_tokenizer,
    save_tokenizer,
    special_ids,
)
from hopfield_attn.files import read_json, write_json

DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
_CONFIG, _WEIGHTS, _INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.ckpt.index")
_PICKLED = {
    b"PK\x03\x04": "a zip archive, as torch and NumPy write",
    b"\x93NUMPY": "an array of NumPy",
    b"\x80": "a pickle",
}
_LONGEST_REASON = 200


class BertFolder(NamedTuple):
    """What a folder holds.

    Attributes:
      config: the object of ``config.json``.
      tensors: name → array, as in the file.
    """

    config: dict[str, Any]
    tensors: dict[str, np.ndarray]


def read_bert_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads ``config.json`` of a folder.

    Raises:
      FileNotFoundError: there is no such folder or file.
      ValueError: it is not a JSON object.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; expected one with {_CONFIG} and weights"
        )
    return read_json(folder / _CONFIG)


def read_bert_folder(path: str | os.PathLike[str]) -> BertFolder:
    """Reads config and tensors of a folder.

    Args:
      path: a folder with ``config.json`` and ``model.safetensors``, or its index and parts.

    Raises:
      FileNotFoundError: a file is missing; where only pickled weights are there, how to convert
        them.
      ValueError: a file is damaged, or holds tensors that are not floating-point.
    """
    config = read_bert_config(path)
    folder = Path(path).expanduser()
    if (folder / _WEIGHTS).is_file():
        return BertFolder(config, _read_tensors(folder / _WEIGHTS))
    if (folder / _INDEX).is_file():
        tensors: dict[str, np.ndarray] = {}
        for part in _read_parts(folder / _INDEX):
            tensors |= _read_tensors(part)
        return BertFolder(config, tensors)
    found = [name for name in _PICKLES if (folder / name).is_file()]
    more = (
        f"; {found[0]} is a pickle, which is a program and is not opened: save the model again "
        "with transformers' save_pretrained, which writes safetensors"
        if found
        else ""
    )
    raise FileNotFoundError(f"{folder}: has no {_WEIGHTS}{more}")


def read_bert_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Reads ``tokenizer.json`` of a folder, or makes the WordPiece tokenizer of ``vocab.txt``.

    Raises:
      FileNotFoundError: neither is there.
      ValueError: it lacks one of BERT's special tokens.
    """
    folder = Path(path).expanduser()
    if (folder / "tokenizer.json").is_file():
        return load_tokenizer(folder / "tokenizer.json")
    vocabulary = folder / "vocab.txt"
    if not vocabulary.is_file():
        raise FileNotFoundError(f"{folder}: has neither tokenizer.json nor vocab.txt")
    settings = folder / "tokenizer_config.json"
    options = read_json(settings) if settings.is_file() else {}
    strips_accents = options.get("strip_accents")
    if not isinstance(strips_accents, bool | None):
        raise ValueError(f"{settings}: strip_accents must be true, false or null")
    try:
        made = BertWordPieceTokenizer(
            str(vocabulary),
            lowercase=bool(options.get("do_lower_case", True)),
            strip_accents=strips_accents,
            handle_chinese_chars=bool(options.get("tokenize_chinese_chars", True)),
        )
    except Exception as error:  # the library raises bare Exception for a file that is no text
        raise ValueError(f"{vocabulary}: not a vocabulary ({error})") from None
    tokenizer = Tokenizer.from_str(made.to_str())
    check_tokenizer(tokenizer, source=str(vocabulary))
    return tokenizer


def write_bert_folder(
    path: str | os.PathLike[str],
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    tokenizer: Tokenizer | None,
) -> None:
    """Writes a folder that :func:`read_bert_folder` and transformers read.

    Files are written whole or not at all, the weights first: a folder with a config is complete.

    Args:
      path: made if it is not there.
      config: for ``config.json``, with ``max_position_embeddings``.
      tensors: name → array.
      tokenizer: for ``tokenizer.json``, as :func:`hopfield_attn.data.framing.with_frame` has it;
        ``None`` writes none.
    """
    folder = Path(path).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{_WEIGHTS}.{os.getpid()}.partial"
    try:
        # "pt" is what transformers asks a file to say of itself.
        arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        safetensors.numpy.save_file(arrays, partial, metadata={"format": "pt"})
        partial.replace(folder / _WEIGHTS)
    finally:
        partial.unlink(missing_ok=True)
    if tokenizer is not None:
        save_tokenizer(with_frame(tokenizer), folder / "tokenizer.json")
        longest = config["max_position_embeddings"]
        write_json(folder / "tokenizer_config.json", _tokenizer_config(tokenizer, longest))
    write_json(folder / _CONFIG, dict(config))


def _tokenizer_config(tokenizer: Tokenizer, max_length: int) -> dict[str, Any]:
    """What transformers has to know of a tokenizer beside its ``tokenizer.json``."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        # Without it the token types of a pair are not passed on to the model.
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "model_max_length": max_length,
        **{f"{name[1:-1].lower()}_token": name for name in special_ids(tokenizer)},
    }


def _read_parts(index: Path) -> list[Path]:
    """The files that an index lists."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise ValueError(f"{index}: lacks the object 'weight_map'")
    there = {path.name: path for path in index.parent.iterdir() if path.is_file()}
    parts = {}
    for name in weight_map.values():
        # A name from a file must not lead out of the folder.
        if not isinstance(name, str) or name not in there:
            raise FileNotFoundError(f"{index}: lists {reprlib.repr(name)}, which is not beside it")
        parts[name] = there[name]
    return [parts[name] for name in sorted(parts)]


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return safetensors.numpy.load_file(path)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        reason = _pickle_in(path) or printable(str(error)[:_LONGEST_REASON])
        raise ValueError(f"{path}: not a safetensors file, or damaged ({reason})") from None


def _pickle_in(path: Path) -> str:
    """Which format that may hold a program a file has; "" for any other."""
    with path.open("rb") as file:
        start = file.read(8)
    for signature, name in _PICKLED.items():
        if start.startswith(signature):
            return f"it begins as {name}, which may hold a program and is not opened"
    return ""
