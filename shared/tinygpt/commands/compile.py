"""`tinygpt compile`: compile all kernels for this processor, before a run or an answer has to wait for them."""

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from tinygpt.commands.failures import one_sentence
from tinygpt.contracts.models import SERVED_WEIGHTS, WeightFormat


class Part(StrEnum):
    TRAINING = "training"
    DECODING = "decoding"


def compile_kernels(
    parts: Annotated[list[Part] | None, typer.Argument(help="Both if left out.", show_default=False)] = None,
    weights: Annotated[
        WeightFormat, typer.Option(help="The weight format to decode with. `tinygpt eval` uses float32.")
    ] = SERVED_WEIGHTS,
) -> None:
    """Compile the kernels of training and decoding for this processor, so that the first run and answer need not wait.

    Takes half a minute, or a second if all are there. They are kept in NUMBA_CACHE_DIR, or in the user's cache folder.
    """
    from tinygpt.compiled.jit import OBSTACLE

    console = Console(highlight=False, soft_wrap=True)
    if OBSTACLE:
        console.print(f"Nothing can be compiled here ({OBSTACLE}). Everything works without, more slowly.")
        return
    with one_sentence():
        for part in dict.fromkeys(parts or Part):
            started = time.monotonic()
            console.print(f"The kernels of {part.value} ... ", end="")
            _COMPILE[part](weights)
            console.print(f"{time.monotonic() - started:.1f} s")


def _training(_: WeightFormat) -> None:
    from tinygpt.model import ops

    ops.warm_all(lambda: None)


def _decoding(weights: WeightFormat) -> None:
    """Decode a token with a small model. A kernel depends on the types of its arguments, not on their sizes."""
    from tinygpt.data.tokenizer import CharacterTokenizer
    from tinygpt.inference.compiled_decoder import CompiledDecoder
    from tinygpt.model.config import ModelConfig
    from tinygpt.model.transformer import TinyGPT

    tokenizer = CharacterTokenizer.from_corpus([])
    config = ModelConfig(vocab_size=tokenizer.vocab_size, context_length=64, layers=1, heads=1, width=32)
    CompiledDecoder(TinyGPT(config).eval(), tokenizer, slots=1, weights=weights).warm()


_COMPILE: dict[Part, Callable[[WeightFormat], None]] = {Part.TRAINING: _training, Part.DECODING: _decoding}
