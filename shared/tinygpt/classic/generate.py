"""Generation: ask the network for the next token, append it, ask again."""

import torch
from torch import Tensor

from tinygpt.classic.gpt import GPT
from tinygpt.data.tokenizer import CODE, EOS, PAD, PROMPT, UNK, Tokenizer

NEVER_GENERATED = [PAD, UNK, PROMPT, CODE]
REPETITION_WINDOW = 64


def next_token_probabilities(
    logits: Tensor, recent: list[int], temperature: float, top_p: float, repetition_penalty: float
) -> Tensor:
    """What to draw the next token from, (V), given its logits (V) and the latest tokens of the answer."""
    logits = logits.clone()
    logits[NEVER_GENERATED] = -torch.inf
    # Make what was just said less likely (Keskar et al., "CTRL", 2019): lower a logit, whatever its sign.
    said = logits[recent]
    logits[recent] = torch.where(said > 0, said / repetition_penalty, said * repetition_penalty)
    if temperature == 0:  # greedy: all the probability on the best token
        return torch.zeros_like(logits).index_fill(0, logits.argmax(), 1.0)
    # A temperature below 1 makes the likely tokens likelier, one above 1 evens them out.
    probabilities = torch.softmax(logits / temperature, dim=0)
    # Keep the most likely tokens that together reach `top_p`, and drop the tail (Holtzman et al., 2020).
    if top_p < 1:
        ordered, tokens = probabilities.sort(descending=True, stable=True)
        reached_before = ordered.cumsum(0) - ordered  # what the tokens before each one reach together
        probabilities[tokens[reached_before >= top_p]] = 0
    return probabilities / probabilities.sum()


@torch.no_grad()
def generate(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
) -> str:
    """The code that answers `prompt`. It ends at `<EOS>`, after `max_new_tokens`, or when the context is full."""
    model.eval()  # without dropout
    ids = tokenizer.encode_prompt(prompt)
    answer: list[int] = []
    while len(answer) < max_new_tokens and len(ids) + len(answer) < model.context_length:
        logits = model(torch.tensor([ids + answer]))[0, -1]  # (V): the last position's
        recent = answer[-REPETITION_WINDOW:]
        probabilities = next_token_probabilities(logits, recent, temperature, top_p, repetition_penalty)
        token = int(torch.multinomial(probabilities, 1))
        if token == EOS:
            break
        answer.append(token)
    return tokenizer.decode(answer)
