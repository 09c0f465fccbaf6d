"""A checkpoint: one `.pt` file from which the model, its tokenizer and its training state are rebuilt.

It holds tensors and plain values only and is read with `weights_only=True`, so that loading one runs no code.
"""

import io
import pickle
import struct
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from tinygpt.contracts.errors import InvalidCheckpoint
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.data.tokenizer_kinds import tokenizer_from_dict
from tinygpt.durable import open_whole, sha256_of
from tinygpt.model.config import ModelConfig, without_removed_options
from tinygpt.model.transformer import TinyGPT

FORMAT = "tinygpt-checkpoint"
VERSION = 2
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    struct.error,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
"""What `torch.load` raises on bytes that it can't make sense of."""


@dataclass(frozen=True)
class Checkpoint:
    """What a `.pt` holds: the model on the CPU in evaluation mode, its tokenizer, plain facts about its training.

    `resume` is the state from which training goes on (`last.pt` only).
    """

    model: TinyGPT
    tokenizer: Tokenizer
    training: dict[str, Any] = field(default_factory=dict)
    resume: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write `path` whole. Raises `StorageFull`."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "hyperparameters": asdict(checkpoint.model.config),
        "tokenizer": checkpoint.tokenizer.to_dict(),
        "state_dict": checkpoint.model.state_dict(),
        "training": checkpoint.training,
        "resume": checkpoint.resume,
    }
    # torch's own writer hides a full disk behind a RuntimeError, so the bytes are made first.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with open_whole(path) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path, *, sha256: str | None = None) -> Checkpoint:
    """Rebuild everything from the file alone; with `sha256`, only if that is its hash.

    Raises:
        InvalidCheckpoint: missing, truncated, altered, of another format or version, or its parts disagree.
            The message is one sentence that names the file.
    """
    content = _read(path, sha256)
    if content.get("format") != FORMAT:
        raise InvalidCheckpoint(f"{path} is not a TinyGPT checkpoint.")
    if content.get("version") != VERSION:
        raise InvalidCheckpoint(f"{path} has checkpoint version {content.get('version')!r}, not {VERSION}: train anew.")
    try:
        tokenizer = tokenizer_from_dict(content["tokenizer"])
        config = ModelConfig(**without_removed_options(dict(content["hyperparameters"])))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidCheckpoint(f"{path} has unusable hyperparameters or tokenizer: {error}.") from error
    if tokenizer.vocab_size != config.vocab_size:
        raise InvalidCheckpoint(
            f"{path} disagrees with itself: its tokenizer has {tokenizer.vocab_size} tokens, "
            f"its model {config.vocab_size}."
        )
    try:
        model = TinyGPT(config)
        model.load_state_dict(content["state_dict"])
    except (KeyError, RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InvalidCheckpoint(f"{path} has weights that don't fit its hyperparameters: {reason}") from error
    return Checkpoint(model.eval(), tokenizer, content.get("training", {}), content.get("resume", {}))


def _read(path: Path, sha256: str | None) -> dict[str, Any]:
    try:
        if sha256 is not None and sha256_of(path) != sha256:
            raise InvalidCheckpoint(f"{path} is not the file that was promoted: its SHA-256 differs.")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InvalidCheckpoint(f"{path} does not exist.") from error
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise InvalidCheckpoint(f"{path} is truncated or is no checkpoint at all: {reason}") from error
    if not isinstance(content, dict):
        raise InvalidCheckpoint(f"{path} is not a TinyGPT checkpoint.")
    return content
