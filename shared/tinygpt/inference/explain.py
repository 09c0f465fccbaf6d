"""How an answer comes about: each step's candidates through the stages of sampling, and the attention weights."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tinygpt.contracts.errors import InvalidRequest, TinyGPTError
from tinygpt.contracts.explain import (
    MAX_WEIGHTS,
    AttentionMap,
    Candidate,
    ExplainedStep,
    ExplainedToken,
    ExplainRequest,
    Explanation,
)
from tinygpt.contracts.generation import FinishReason
from tinygpt.data.tokenizer import EOS, Tokenizer
from tinygpt.inference.balance import balanced_tokens, token_texts
from tinygpt.inference.request import encode_prompt, sampling_parameters
from tinygpt.inference.sampling import Floats, Ids, generated_tokens, next_token, next_token_probabilities
from tinygpt.inference.sequence import NOT_A_NUMBER
from tinygpt.model.transformer import TinyGPT

_STAGES = ("probability", "after_penalty", "after_temperature", "after_top_k", "after_top_p", "after_min_p")
_TURNED_OFF = (("min_p", 0.0), ("top_p", 1.0), ("top_k", 0), ("temperature", 1.0))
"""The value that turns off each stage after the penalty, the last stage first."""
_DIGITS = 5


@torch.inference_mode()
def explain(
    model: TinyGPT,
    tokenizer: Tokenizer,
    request: ExplainRequest,
    *,
    model_id: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> Explanation:
    """Answer the request with `model` itself and show each step. The same seed gives the tokens of `/generate`.

    `should_stop` is called before each token. If it returns True, the answer ends there, as `cancelled` and without
    attention.

    Raises `InvalidRequest` for a prompt that leaves no room in the context, and for attention that can't be shown: at
    once if the prompt's own is too much, else after the last token. Raises `TinyGPTError` if the network computes NaN.
    """
    prompt_ids = encode_prompt(request.prompt, tokenizer, model.config.context_length)
    room = model.config.context_length - len(prompt_ids)
    if request.attention:
        _shown_heads(model, len(prompt_ids), request.layers, request.heads)
    sampling = sampling_parameters(request).record()
    cache = model.make_cache()
    allowed, texts = generated_tokens(model.config.vocab_size), token_texts(tokenizer)
    ids, steps = list(prompt_ids), list[ExplainedStep]()
    finish_reason: FinishReason = "length"
    unread = ids
    for position in range(min(request.max_new_tokens, room)):
        if should_stop():
            finish_reason = "cancelled"
            break
        logits = model(torch.tensor([unread], device=model.device), cache)[0, -1].float().cpu().numpy()
        if not np.isfinite(logits).all():
            raise TinyGPTError(NOT_A_NUMBER)
        output = np.array(ids[len(prompt_ids) :], np.int32)
        permitted = balanced_tokens(allowed, texts, output) if request.balanced else allowed
        stages, taken = sampling_stages(logits, permitted, output, sampling, position)
        steps.append(_step(logits, stages, taken, request.candidates, tokenizer))
        if taken == EOS:
            finish_reason = "eos"
            break
        ids, unread = [*ids, taken], [taken]
    return Explanation(
        model=model_id,
        prompt_tokens=_tokens(prompt_ids, tokenizer),
        steps=steps,
        text=tokenizer.decode(ids[len(prompt_ids) :]),
        finish_reason=finish_reason,
        attention=attention_maps(model, ids, request.layers, request.heads)
        if request.attention and finish_reason != "cancelled"
        else None,
    )


def sampling_stages(
    logits: Floats, allowed: NDArray[np.bool_], output: Ids, sampling: Any, position: int
) -> tuple[Floats, int]:
    """The distribution after each stage of sampling, (stages, vocab), and the token drawn from the last one.

    A stage's distribution is what sampling gives with all later stages turned off. The arguments are those of
    `sampling.next_token`.
    """
    taken, _ = next_token(logits, allowed, output, sampling, position)
    recent = output[max(0, len(output) - sampling["repetition_window"]) :]
    stages = [next_token_probabilities(logits, allowed, recent, sampling)]
    reduced = sampling.copy()
    for option, off in _TURNED_OFF:
        reduced[option] = off
        stages.append(next_token_probabilities(logits, allowed, recent, reduced))
    reduced["repetition_penalty"] = 1.0
    stages.append(next_token_probabilities(logits, np.ones_like(allowed), recent, reduced))
    return np.stack(stages[::-1]), taken


@torch.inference_mode()
def attention_maps(
    model: TinyGPT, ids: Sequence[int], layers: Sequence[int] | None = None, heads: Sequence[int] | None = None
) -> list[AttentionMap]:
    """The attention weights of each head when the model reads `ids`, by layer and head.

    Raises `InvalidRequest` for a layer or head that does not exist, for more than `MAX_WEIGHTS` weights, and for a
    model without attention.
    """
    layers, heads = _shown_heads(model, len(ids), layers, heads)
    weights = model.attention_weights(torch.tensor([list(ids)], device=model.device), layers, heads)
    return [
        AttentionMap(layer=layer, head=head, weights=_lower_triangle(of_head.float().cpu().numpy()))
        for layer, of_layer in zip(layers, weights, strict=True)
        for head, of_head in zip(heads, of_layer[0], strict=True)
    ]


def _shown_heads(
    model: TinyGPT, tokens: int, layers: Sequence[int] | None, heads: Sequence[int] | None
) -> tuple[Sequence[int], Sequence[int]]:
    """The layers and heads to show for a sequence of `tokens` tokens. Raises what `attention_maps` does."""
    config = model.config
    if config.architecture != "transformer":
        raise InvalidRequest(
            f"This model's architecture is {config.architecture}, which has no attention.", param="attention"
        )
    layers = _require_existing(layers, config.layers, "layers")
    heads = _require_existing(heads, config.heads, "heads")
    count = len(layers) * len(heads) * tokens * (tokens + 1) // 2
    if count > MAX_WEIGHTS:
        raise InvalidRequest(
            f"{count:,} attention weights are more than the {MAX_WEIGHTS:,} that are shown at most: ask for fewer "
            "layers, heads or max_new_tokens.",
            param="attention",
        )
    return layers, heads


def _step(logits: Floats, stages: Floats, taken: int, candidates: int, tokenizer: Tokenizer) -> ExplainedStep:
    shown = np.argsort(-logits, kind="stable")[:candidates].tolist()
    if taken not in shown:
        shown[-1] = taken
    return ExplainedStep(
        taken=_tokens([taken], tokenizer)[0],
        entropy=_entropy_bits(stages[0]),
        sampled_entropy=_entropy_bits(stages[-1]),
        candidates=[
            Candidate(
                **token.model_dump(),
                logit=round(float(logits[token.id]), _DIGITS),
                **{stage: round(float(stages[i, token.id]), _DIGITS) for i, stage in enumerate(_STAGES)},
            )
            for token in _tokens(shown, tokenizer)
        ],
    )


def _tokens(ids: Sequence[int], tokenizer: Tokenizer) -> list[ExplainedToken]:
    return [ExplainedToken(id=i, text=text) for i, text in zip(ids, tokenizer.token_names(ids), strict=True)]


def _entropy_bits(probabilities: Floats) -> float:
    likely = probabilities[probabilities > 0].astype(np.float64)
    return abs(round(float(-(likely * np.log2(likely)).sum()), _DIGITS))


def _require_existing(asked: Sequence[int] | None, count: int, name: str) -> Sequence[int]:
    """The layers or heads asked for, or all of them if None were."""
    if asked is not None and max(asked) >= count:
        raise InvalidRequest(f"There are {count} {name}, counted from 0: {max(asked)} is not one of them.", param=name)
    return range(count) if asked is None else sorted(set(asked))


def _lower_triangle(weights: Floats) -> list[list[float]]:
    """The first t + 1 numbers of each row t. The others are 0, because no position sees later ones."""
    return [row[: t + 1] for t, row in enumerate(np.round(weights.astype(np.float64), _DIGITS).tolist())]
