"""The decoder that leaves Python for several tokens at a time: `decoding_kernels.py`, then `sampling.py`.

The slots are shared out among threads, each of which takes its own through whole steps: they never wait for one another
within a step, and every processor core keeps its slots' keys and values in its own cache.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygpt.compiled.byte_products import BYTES_A_SUM
from tinygpt.compiled.jit import kernel
from tinygpt.compiled.lanes import WIDE
from tinygpt.contracts.models import WeightFormat
from tinygpt.data.tokenizer import EOS, Tokenizer
from tinygpt.inference.attention_kernels import Cache, QuantisedCache
from tinygpt.inference.balance import balanced_tokens, token_texts
from tinygpt.inference.decoder import SlotFinishReason, SlotOutput, TopLogprobs
from tinygpt.inference.decoding_kernels import Rows, Sequences, compute_logits, forward
from tinygpt.inference.linear_kernels import QuantisedRows
from tinygpt.inference.packed_weights import Weights, pack
from tinygpt.inference.sampling import SAMPLING, SamplingParameters, generated_tokens, next_token, top_logprobs
from tinygpt.model.transformer import TinyGPT

PREFILL_ROWS = 32
"""Tokens of a prompt that are read at once."""

_GOES_ON, _EOS, _LENGTH, _NAN = range(4)
_ENDED: tuple[SlotFinishReason | None, ...] = (None, "eos", "length", "nan")

SLOT = np.dtype(
    [
        ("length", np.int32),  # tokens known; all but the last have been read
        ("prompt_length", np.int32),
        ("end", np.int32),  # the length at which the slot ends
        ("top_logprobs", np.int32),
        ("sampling", SAMPLING),
    ]
)


class CompiledDecoder:
    """A `Decoder` of a transformer, on this machine's CPU. See `decoder.py` for what its methods promise."""

    def __init__(
        self,
        model: TinyGPT,
        tokenizer: Tokenizer,
        *,
        slots: int,
        weights: WeightFormat = "float32",
        threads: int = 1,
    ) -> None:
        self.slots = slots
        self.context_length = model.config.context_length
        self._weights = pack(model, weights)
        self._allowed = generated_tokens(tokenizer.vocab_size)
        self._texts = token_texts(tokenizer)
        self._sequences = _empty_sequences(self._weights, slots, self.context_length, weights)
        self._slots = np.zeros(slots, SLOT)
        self._writing: set[int] = set()
        self._stop = np.zeros(1, np.int32)
        threads = max(1, min(threads, slots))
        self._rows = [_empty_rows(self._weights, slots, self.context_length) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="decoder") if threads > 1 else None

    def prefill(self, prompts: Mapping[int, Sequence[int]]) -> None:
        lengths = self._slots["length"]
        for slot, ids in prompts.items():
            if (end := int(lengths[slot]) + len(ids)) >= self.context_length:
                raise ValueError(f"{end} tokens leave no room in a context of {self.context_length}")
        spans = np.zeros((len(prompts), 3), np.int32)
        for span, (slot, ids) in zip(spans, prompts.items(), strict=True):
            start, end = int(lengths[slot]), int(lengths[slot]) + len(ids)
            self._sequences.ids[slot, start:end] = ids
            span[:] = slot, max(0, start - 1), max(0, end - 1)  # `step` reads the last token
            lengths[slot] = end

        def take(rows: Rows, first: int, last: int) -> None:
            self._read(rows, spans[first:last])

        self._share(len(spans), take)

    def begin(self, slot: int, sampling: SamplingParameters, *, max_new_tokens: int, top_logprobs: int = 0) -> None:
        state = self._slots[slot]
        if not state["length"]:
            raise ValueError("a prompt of no tokens has nothing to continue")
        state["prompt_length"] = state["length"]
        state["end"] = min(int(state["length"]) + max_new_tokens, self.context_length)
        state["top_logprobs"] = top_logprobs
        state["sampling"] = sampling.record()
        self._writing.add(slot)

    def step(self, steps: int = 1) -> Sequence[SlotOutput]:
        writing = np.array(sorted(self._writing), np.int32)
        if not len(writing):
            return []
        output = _Output(steps, self._slots["top_logprobs"][writing].tolist())

        def take(rows: Rows, first: int, last: int) -> None:
            part = [array[first:last] for array in output.arrays]
            write(
                self._weights,
                self._sequences,
                rows,
                self._slots,
                writing[first:last],
                steps,
                self._allowed,
                self._texts,
                self._stop,
                *part,
            )

        self._share(len(writing), take)
        self._stop[0] = 0
        written = output.written(writing)
        self._writing.difference_update(one.slot for one in written if one.finish_reason)
        return written

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """What the model says of the token after each of `ids`, (time, vocab), to compare weights' formats by. Slot 0
        must be free."""
        logits = np.zeros((len(ids), len(self._allowed)), np.float32)
        rows = self._rows[0]
        self._sequences.ids[0, : len(ids)] = ids
        for first in range(0, len(ids), len(rows.slot)):
            count = min(len(ids) - first, len(rows.slot))
            rows.slot[:count] = 0
            rows.position[:count] = np.arange(first, first + count)
            forward(self._weights, self._sequences, rows, count)
            compute_logits(self._weights, rows, count)
            logits[first : first + count] = rows.logits[:count, : len(self._allowed)]
        return logits

    def interrupt(self) -> None:
        self._stop[0] = 1

    def free(self, slot: int) -> None:
        self._slots[slot] = np.zeros(1, SLOT)[0]
        self._writing.discard(slot)

    def _read(self, rows: Rows, spans: NDArray[np.int32]) -> None:
        """Read of each slot the tokens from one position up to another: `spans` has the three by row. As many are read
        at once as there are rows, whosever they are."""
        slots = np.repeat(spans[:, 0], spans[:, 2] - spans[:, 1])
        positions = np.concatenate([np.arange(start, end) for _, start, end in spans])
        for first in range(0, len(slots), len(rows.slot)):
            count = min(len(slots) - first, len(rows.slot))
            rows.slot[:count] = slots[first : first + count]
            rows.position[:count] = positions[first : first + count]
            forward(self._weights, self._sequences, rows, count)

    def _share(self, count: int, take: Callable[[Rows, int, int], None]) -> None:
        """Share `count` sequences out among the threads, each with rows of its own: `take(rows, first, last)`. Raises
        the first error when all have ended: a slot that is freed then is written to by nobody."""
        threads = min(len(self._rows), count)
        bounds = [count * i // threads for i in range(threads + 1)]
        own, *others = zip(self._rows, bounds, bounds[1:], strict=False)
        futures = [self._pool.submit(take, *other) for other in others] if self._pool else []
        try:
            take(*own)
        finally:
            errors = [error for future in futures if (error := future.exception())]
        if errors:
            raise errors[0]

    def warm(self) -> None:
        """Compile all that is needed, or load it from where it is kept, so that the first answer is as fast as any."""
        self.prefill({0: [EOS]})
        self.begin(0, SamplingParameters(), max_new_tokens=1)
        self.step()
        self.free(0)


class _Output:
    """What the kernels write of S slots in up to `steps` tokens; `tops` is how many of the likeliest each one wants."""

    def __init__(self, steps: int, tops: list[int]) -> None:
        slots, top = len(tops), max(tops)
        self._tops = tops
        self.ids = np.empty((slots, steps), np.int32)
        self.logprobs = np.empty((slots, steps), np.float32)
        self.top_ids = np.empty((slots, steps, top), np.int32)
        self.top_logprobs = np.empty((slots, steps, top), np.float32)
        self.counts = np.zeros(slots, np.int32)
        self.ended = np.zeros(slots, np.int32)

    @property
    def arrays(self) -> list[NDArray[Any]]:
        return [self.ids, self.logprobs, self.top_ids, self.top_logprobs, self.counts, self.ended]

    def written(self, slots: NDArray[np.int32]) -> list[SlotOutput]:
        ids, logprobs = self.ids.tolist(), self.logprobs.tolist()
        counts, ended = self.counts.tolist(), self.ended.tolist()
        return [
            SlotOutput(slot, ids[i][: counts[i]], logprobs[i][: counts[i]], self._top(i), _ENDED[ended[i]])
            for i, slot in enumerate(slots.tolist())
        ]

    def _top(self, i: int) -> list[TopLogprobs]:
        wanted = self._tops[i]
        if not wanted:
            return []
        both = zip(self.top_ids[i, :, :wanted].tolist(), self.top_logprobs[i, :, :wanted].tolist(), strict=True)
        return [tuple(zip(*one, strict=True)) for one in both][: self.counts[i]]


@kernel
def write(
    weights: Weights,
    sequences: Sequences,
    rows: Rows,
    slots: Any,
    writing: NDArray[np.int32],
    steps: int,
    allowed: NDArray[np.bool_],
    texts: NDArray[np.uint8],
    stop: NDArray[np.int32],
    ids: NDArray[np.int32],
    logprobs: NDArray[np.float32],
    top_ids: NDArray[np.int32],
    top_logprobs_: NDArray[np.float32],
    counts: NDArray[np.int32],
    ended: NDArray[np.int32],
) -> None:
    """Let the slots `writing` add up to `steps` tokens each, until all have ended or `stop` is set.

    `slots` are all slots' `SLOT` records; the arrays from `ids` on, by the order of `writing`, are written to.
    """
    going_on, count = np.arange(len(writing)), len(writing)
    for step in range(steps):
        for row in range(count):
            i = going_on[row]
            rows.slot[row] = writing[i]
            rows.position[row] = slots[writing[i]].length - 1
        forward(weights, sequences, rows, count)
        compute_logits(weights, rows, count)
        for row in range(count):
            i = going_on[row]
            slot = slots[writing[i]]
            logits = rows.logits[row][: len(allowed)]
            answer = sequences.ids[writing[i]][slot.prompt_length : slot.length]
            candidates = balanced_tokens(allowed, texts, answer) if slot.sampling.balanced else allowed
            token, logprob = next_token(logits, candidates, answer, slot.sampling, len(answer))
            if np.isnan(logprob) or token == EOS:
                ended[i] = _NAN if np.isnan(logprob) else _EOS
                continue
            sequences.ids[writing[i], slot.length] = token
            slot.length += 1
            ids[i, step] = token
            logprobs[i, step] = logprob
            counts[i] += 1
            if slot.top_logprobs > 0:
                likeliest, theirs = top_logprobs(logits, slot.top_logprobs)
                for place in range(slot.top_logprobs):
                    top_ids[i, step, place], top_logprobs_[i, step, place] = likeliest[place], theirs[place]
            if slot.length == slot.end:
                ended[i] = _LENGTH
        left = 0
        for i in going_on[:count]:
            if ended[i] == _GOES_ON:
                going_on[left] = i
                left += 1
        count = left
        if stop[0] or not count:
            break


def _empty_sequences(weights: Weights, slots: int, context_length: int, format: WeightFormat) -> Sequences:
    layers, twice_heads, width = weights.head_gain.shape
    taps, channels = weights.projected_convolution.shape[1:]
    return Sequences(
        ids=np.zeros((slots, context_length), np.int32),
        cache=_empty_cache((slots, layers, twice_heads // 2), -(-context_length // WIDE), width, format),
        recent_projected=np.zeros((slots, layers, taps, channels), np.float32),
        recent_normed=np.zeros((slots, len(weights.expand.bias), taps, weights.token_embedding.shape[1]), np.float32),
    )


def _empty_cache(heads: tuple[int, int, int], blocks: int, width: int, format: WeightFormat) -> Cache | QuantisedCache:
    positions = blocks * WIDE
    if format == "int8":
        return QuantisedCache(
            keys=np.zeros((*heads, blocks, width // BYTES_A_SUM, WIDE, BYTES_A_SUM), np.uint8),
            key_scale=np.zeros((*heads, positions), np.float32),
            values=np.zeros((*heads, positions, width), np.int8),
            value_scale=np.zeros((*heads, positions), np.float32),
        )
    kept = np.float32 if format == "float32" else np.uint16  # bfloat16
    return Cache(np.zeros((*heads, blocks, width, WIDE), kept), np.zeros((*heads, positions, width), kept))


def _empty_rows(weights: Weights, slots: int, context_length: int) -> Rows:
    count = max(PREFILL_ROWS, slots)

    def room(columns: int) -> NDArray[np.float32]:
        return np.zeros((count, columns), np.float32)

    width, hidden = weights.token_embedding.shape[1], weights.expand.bias.shape[1]
    _, twice_heads, head_width = weights.head_gain.shape
    attended = -(-(twice_heads // 2 * head_width) // WIDE) * WIDE
    projected = weights.query_key_value.bias.shape[1]
    return Rows(
        slot=np.zeros(count, np.int32),
        position=np.zeros(count, np.int32),
        x=room(width),
        normed=room(width),
        projected=room(projected),
        attended=room(attended),
        hidden=room(hidden),
        added=room(width),
        logits=room(weights.head.bias.shape[1]),
        scores=np.zeros(-(-context_length // WIDE) * WIDE, np.float32),
        quantised=QuantisedRows(
            bytes=np.zeros((count, max(width, attended, projected, hidden)), np.int8),
            scale=np.zeros(count, np.float32),
            correction=np.zeros(count, np.int32),
        ),
    )
