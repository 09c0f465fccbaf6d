"""What a decoder is: slots that hold one sequence each, from `prefill` over `step` to `free`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tinygpt.inference.sampling import SamplingParameters

SlotFinishReason = Literal["eos", "length", "nan"]
"""Why a slot generates no more. `nan`: the network computed NaN, so there is no next token."""
TopLogprobs = tuple[tuple[int, float], ...]
"""The most likely tokens at one place with their log probabilities, most likely first."""


@dataclass(frozen=True, slots=True)
class SlotOutput:
    """The tokens that one slot generated in a call of `step`, without `<EOS>`.

    `ids` and `logprobs` are lists of equal length, and so is `top` if `begin` asked for it; else `top` is empty. A log
    probability is the model's own: of the whole vocabulary, before penalty, temperature and cuts.
    """

    slot: int
    ids: list[int]
    logprobs: list[float]
    top: list[TopLogprobs]
    finish_reason: SlotFinishReason | None
    """None while the slot goes on."""


class Decoder(Protocol):
    """Decodes up to `slots` sequences side by side. For one thread at a time, except `interrupt`.

    What a slot generates depends only on its own prompt, parameters and seed, bit for bit, and never on other slots.

    It also depends on the chunks that a prompt was read in, by rounding at most. The compiled decoder computes every
    position alone, so its result is the same bit for bit in all weight formats. PyTorch rounds a matrix product by its
    shape, so its logits differ in their last bits: at a near tie, sampling may take another token. In float64 the
    difference is smaller than sampling can see.
    """

    @property
    def slots(self) -> int: ...

    @property
    def context_length(self) -> int: ...

    def prefill(self, prompts: Mapping[int, Sequence[int]]) -> None:
        """Read each slot's ids, after those that it holds: a long prompt may come in chunks.

        Raises `ValueError` if they would fill the context, because a token must still fit.
        """

    def begin(self, slot: int, sampling: SamplingParameters, *, max_new_tokens: int, top_logprobs: int = 0) -> None:
        """The prompt is complete: the slot generates from the next `step` on. It finishes with `<EOS>`, after
        `max_new_tokens` (at least 1), or when the context is full."""

    def step(self, steps: int = 1) -> Sequence[SlotOutput]:
        """Add a token to every slot that generates, up to `steps` times. One output for each slot that generated or
        finished.

        Returns early if all have finished or after `interrupt`, and may do so whenever a step takes long. An
        `interrupt` before the call lets it return after its first token.
        """

    def interrupt(self) -> None:
        """Let a `step` in another thread return after its current token."""

    def free(self, slot: int) -> None:
        """Forget the slot's sequence, whatever its state."""


def decode(
    decoder: Decoder, prompt_ids: Sequence[int], sampling: SamplingParameters, *, max_new_tokens: int
) -> SlotOutput:
    """Continue one sequence to its end, in slot 0, which must be free.

    Raises `ValueError` for a prompt that leaves no room in the context.
    """
    decoder.prefill({0: prompt_ids})
    decoder.begin(0, sampling, max_new_tokens=max_new_tokens)
    ids: list[int] = []
    logprobs: list[float] = []
    finish_reason: SlotFinishReason | None = None
    while finish_reason is None:
        (output,) = decoder.step()
        ids += output.ids
        logprobs += output.logprobs
        finish_reason = output.finish_reason
    decoder.free(0)
    return SlotOutput(0, ids, logprobs, [], finish_reason)
