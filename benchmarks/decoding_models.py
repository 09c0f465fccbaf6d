"""The models that `bench_decode.py` measures: one set of weights for every side, and the prompts.

The weights learn the bundled rows for some steps, so that a distribution is as peaked as a real one's. Then they are
changed so that `<EOS>` is never likely: every answer has the length that was asked for, and no side's sampler has to
see to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.training_sides import BASELINE_NETWORKS, ProjectLoop, Size
from tinygpt.data.bundled import bundled_rows, held_out_rows
from tinygpt.data.examples import Example, example_of
from tinygpt.data.rows import Row, read_rows
from tinygpt.data.tokenizer import EOS, CharacterTokenizer
from tinygpt.model.checkpoint import Checkpoint, save_checkpoint
from tinygpt.model.config import SIZES, ModelConfig
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.batches import collate
from tinygpt.training.config import TrainConfig

CONTEXT_LENGTH = 256
PROMPT_CHARACTERS = 40
"""Every prompt is cut to as many, so that no side pads a batch: 42 tokens with `<PROMPT>` and `<CODE>`."""
NETWORKS: dict[str, ModelConfig] = {
    **{str(size): network for size, network in BASELINE_NETWORKS.items()},
    **{f"preset {size}": network for size, network in SIZES.items()},
}
"""`tiny` and `small` in GPT-2's architecture, which every side runs; the presets' own, which ours alone does."""
STEPS: dict[Size, int] = {"tiny": 120, "small": 60}
_ROWS = 20_000
_BATCH = 16
_FAR_BELOW = 30.0
"""Of the logit of `<EOS>`, about; those of others are within ten of 0."""


@dataclass(frozen=True)
class Sampling:
    """The sampling parameters that every side gets. `temperature` 0 is greedy and ignores the others."""

    temperature: float
    top_p: float = 1.0
    repetition_penalty: float = 1.0


GREEDY = Sampling(temperature=0.0)
SAMPLING = Sampling(temperature=0.8, top_p=0.9, repetition_penalty=1.2)


def make_checkpoint(network: ModelConfig, path: Path, steps: int, seed: int = 0) -> Checkpoint:
    """Train for `steps` on the bundled rows without their `<EOS>`, and save.

    In one thread, because on a busy machine several wait for one another most of the time.
    """
    rows = read_rows(bundled_rows("bundled"))[:_ROWS]
    tokenizer = CharacterTokenizer.from_corpus(text for row in rows for text in (row.prompt, row.code))
    shape = replace(network, vocab_size=tokenizer.vocab_size, context_length=CONTEXT_LENGTH, dropout=0.0)
    torch.manual_seed(seed)
    config = TrainConfig(model=shape, batch_size=_BATCH, seed=seed)
    examples = [_endless(row, tokenizer) for row in rows]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        loop = ProjectLoop(config, tokenizer, examples, examples[:1])
        for step in range(steps):
            loop.step(step / steps)
    finally:
        torch.set_num_threads(threads)
    _restore_single_precision(loop)
    _never_end(loop.model, collate(examples[:_BATCH], CONTEXT_LENGTH).ids)
    checkpoint = Checkpoint(loop.model.eval(), tokenizer)
    save_checkpoint(checkpoint, path)
    return checkpoint


def _restore_single_precision(loop: ProjectLoop) -> None:
    """Replace weights that were rounded to bf16 for training by the optimiser's fp32 originals."""
    for weight, original in zip(loop.model.parameters(), loop.state.optimizer.state_dict()["originals"], strict=True):
        if original is not None:
            weight.data = original


@torch.no_grad()
def _never_end(model: TinyGPT, ids: Tensor) -> None:
    """Give `<EOS>` a logit far below all others, which stay as they are.

    There are fewer tokens than dimensions, so some direction is orthogonal to every other token's row of the head. The
    last norm adds that direction to all features, and the row of `<EOS>` is its opposite.
    """
    head = model.head.weight
    others = torch.cat([head[:EOS], head[EOS + 1 :]])
    direction = torch.linalg.svd(others, full_matrices=True).Vh[-1]
    largest = (model.features(ids) @ direction).abs().max()
    model.final_norm.bias.add_(2 * (largest + 1) * direction)
    head[EOS] = -_FAR_BELOW / (largest + 1) * direction


def _endless(row: Row, tokenizer: CharacterTokenizer) -> Example:
    tokens, code_start = tokenizer.encode_supervised(row.prompt, row.code)
    tokens = tokens[: min(len(tokens) - 1, CONTEXT_LENGTH + 1)]  # without <EOS>
    return example_of(tokens, code_start, len(tokens) - code_start)


def prompts(count: int) -> list[str]:
    """Held-out prompts of `PROMPT_CHARACTERS` each."""
    cut = [row.prompt[:PROMPT_CHARACTERS] for row in read_rows(held_out_rows())]
    long_enough = [prompt for prompt in dict.fromkeys(cut) if len(prompt) == PROMPT_CHARACTERS]
    return long_enough[:count]


def matrix_parameters(network: ModelConfig) -> int:
    """Weights that every token is multiplied by: 12 C^2 a layer, and the head."""
    return 12 * network.layers * network.width**2 + network.vocab_size * network.width


def flops_a_token(network: ModelConfig, positions: Sequence[int]) -> float:
    """Operations of one decoding step, a multiply-add counted as two, at the mean of `positions`."""
    attended = sum(positions) / len(positions)
    return 2 * matrix_parameters(network) + 4 * network.layers * network.width * attended
