"""What decodes: slots that hold one sequence each, filled by `prefill`, continued by `step`, given back by `free`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tinygpt.inference.sampling import SamplingParameters

Ended = Literal["eos", "length", "nan"]
"""`nan`: what the network says of the next token is not a number, so that there is none."""
Top = tuple[tuple[int, float], ...]
"""The likeliest tokens at one place with their log probabilities, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Written:
    """What one slot wrote in a call of `step`. `<EOS>` is not among the ids. `ended` says why it writes no more.

    `ids` and `logprobs` are plain lists of the same length; so is `top`, where `begin` asked for any, else it is empty.
    A log probability is the model's own: of the whole vocabulary, before penalty, temperature and cuts.
    """

    slot: int
    ids: list[int]
    logprobs: list[float]
    top: list[Top]
    ended: Ended | None


class Decoder(Protocol):
    """Decodes up to `slots` sequences side by side. For one thread at a time, except `interrupt`.

    What a slot writes depends only on its own prompt, parameters and seed, bit for bit, and never on the other slots.

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
        """Read each slot's ids into it, after those that it holds: a long prompt may come in chunks.

        Raises `ValueError` where they would fill the context: a token must still fit.
        """

    def begin(self, slot: int, sampling: SamplingParameters, *, max_new_tokens: int, top_logprobs: int = 0) -> None:
        """The prompt is whole: from the next `step` on, the slot writes. It ends with `<EOS>`, after `max_new_tokens`
        (at least 1) or where the context is full, whichever comes first."""

    def step(self, steps: int = 1) -> Sequence[Written]:
        """Let every slot that writes add a token, up to `steps` times: it returns early where all have ended or
        `interrupt` was called, and may whenever a step takes long. One `Written` for each slot that wrote or ended.

        An `interrupt` that comes while no `step` is under way lets the next one return after its first token.
        """

    def interrupt(self) -> None:
        """Let a `step` that another thread is in return after the token it is at."""

    def free(self, slot: int) -> None:
        """Forget the slot's sequence, whatever its state."""


def decode(
    decoder: Decoder, prompt_ids: Sequence[int], sampling: SamplingParameters, *, max_new_tokens: int
) -> Written:
    """Continue one sequence to its end, in slot 0, which must be free.

    Raises `ValueError` for a prompt that leaves no room in the context.
    """
    decoder.prefill({0: prompt_ids})
    decoder.begin(0, sampling, max_new_tokens=max_new_tokens)
    ids: list[int] = []
    logprobs: list[float] = []
    ended: Ended | None = None
    while ended is None:
        (written,) = decoder.step()
        ids += written.ids
        logprobs += written.logprobs
        ended = written.ended
    decoder.free(0)
    return Written(0, ids, logprobs, [], ended)
