"""Training: the network guesses the next token of code, and every step makes the right one a little more likely."""

import random
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinygpt.classic.gpt import GPT
from tinygpt.data.tokenizer import PAD, Tokenizer

BATCH_SIZE = 32
LEARNING_RATE = 1e-3
WARMUP_STEPS = 50
WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.95)
GRADIENT_CLIP = 1.0
IGNORED = -100  # the label of a position that is not learned from

Example = tuple[list[int], list[int]]  # the ids of a row, and for each of them the label: the id that comes next
Batch = tuple[Tensor, Tensor]  # the same of several rows, both (B, T)


def make_example(tokenizer: Tokenizer, prompt: str, code: str) -> Example:
    """The row `<PROMPT> prompt <CODE> code <EOS>` as ids and labels. Only the code is learned, not the prompt."""
    tokens, code_start = tokenizer.encode_supervised(prompt, code)
    ids = tokens[:-1]
    labels = [IGNORED] * (code_start - 1) + tokens[code_start:]  # labels[t] is the token after ids[t]
    return ids, labels


def make_batch(examples: Sequence[Example]) -> Batch:
    """Rows of different lengths as two rectangles. They are filled up on the right, where no token before looks."""
    longest = max(len(ids) for ids, _ in examples)
    ids = [ids + [PAD] * (longest - len(ids)) for ids, _ in examples]
    labels = [labels + [IGNORED] * (longest - len(labels)) for _, labels in examples]
    return torch.tensor(ids), torch.tensor(labels)


def batches(examples: Sequence[Example], seed: int) -> Iterator[Batch]:
    """Epoch after epoch without an end: every example once, in a new random order."""
    randomness = random.Random(seed)
    while True:
        shuffled = randomness.sample(examples, len(examples))
        for start in range(0, len(shuffled), BATCH_SIZE):
            yield make_batch(shuffled[start : start + BATCH_SIZE])


def make_optimizer(model: GPT) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter, 2019). It pulls matrices towards 0, but no biases and no scales of norms."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS)


def train(
    model: GPT, optimizer: torch.optim.Optimizer, batches: Iterator[Batch], budget_used: Callable[[int], float]
) -> Iterator[float]:
    """Take one step per batch and yield its loss, until `budget_used(step)`, from 0 to 1, has reached 1."""
    for step, (ids, labels) in enumerate(batches):
        used = budget_used(step)
        if used >= 1:
            return

        # Forward: how surprised is the network by the tokens that really come next?
        model.train()  # with dropout
        logits = model(ids)  # (B, T, V)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)  # mean over the labels

        # Backward: how does each weight change the loss? A gradient that is too long is shortened.
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)

        # Step against the gradient. The learning rate rises at first, then falls to 0 at the end of the budget.
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min((step + 1) / WARMUP_STEPS, 1 - used)
        optimizer.step()
        yield loss.item()


@torch.no_grad()
def validation_loss(model: GPT, examples: Sequence[Example]) -> float:
    """The mean loss per token of code, in nats, on examples that the network never learns from."""
    model.eval()  # without dropout
    nats, labelled = 0.0, 0
    for start in range(0, len(examples), BATCH_SIZE):
        ids, labels = make_batch(examples[start : start + BATCH_SIZE])
        logits = model(ids)
        nats += F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum").item()
        labelled += int((labels != IGNORED).sum())
    return nats / labelled
