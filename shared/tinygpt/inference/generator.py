"""Prompts in, answers out: submits a request's sequences to the engine, awaits them, and makes the answer."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from itertools import islice
from queue import SimpleQueue

from tinygpt.contracts.errors import Draining, TinyGPTError
from tinygpt.contracts.generation import Choice, GenerateDelta, GenerateRequest, GenerateResponse
from tinygpt.contracts.models import WeightFormat
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.inference.answer import answer, is_judged, needs_no_repair
from tinygpt.inference.backend import Backend, choose_backend, make_decoder
from tinygpt.inference.engine import Engine, OnEnd
from tinygpt.inference.postprocess import ignore_syntax_warnings
from tinygpt.inference.request import sequence_requests
from tinygpt.inference.response import delta_of, raw_choice, response_of
from tinygpt.inference.retrieval import SIMILARITY_FLOOR, Match, RetrievalIndex
from tinygpt.inference.sequence import SequenceOutput, SequenceRequest, join_outputs
from tinygpt.model.transformer import TinyGPT

_MAX_JUDGED_ON_LOOP = 2000
"""Characters. A longer text is judged in a thread, so that it doesn't hold up the event loop."""


class CodeGenerator:
    """A model, its tokenizer, its training prompts and the engine that decodes. Safe to call from several threads and
    event loops at once. `close` ends the engine.

    A request's `n` choices are decoded side by side: choice i with the seed `seed + i`, or each with a fresh one. An
    answer ends by `length` after `max_new_tokens`, or earlier if the context is full.
    """

    def __init__(
        self,
        model: TinyGPT,
        tokenizer: Tokenizer,
        retrieval: RetrievalIndex | None = None,
        *,
        model_id: str,
        similarity_floor: float = SIMILARITY_FLOOR,
        slots: int = 8,
        max_waiting: int = 256,
        backend: Backend = "auto",
        weights: WeightFormat = "float32",
        threads: int = 1,
        on_end: OnEnd = lambda _end: None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.retrieval = retrieval
        self.model_id = model_id
        self.similarity_floor = similarity_floor
        ignore_syntax_warnings()
        self.backend = choose_backend(model, backend)
        self.weights: WeightFormat = weights if self.backend == "compiled" else "float32"
        decoder = make_decoder(model, tokenizer, slots=slots, backend=self.backend, weights=weights, threads=threads)
        self.engine = Engine(decoder, tokenizer, max_waiting=max_waiting, on_end=on_end)

    def close(self, *, drain_seconds: float = 0.0) -> None:
        """End the engine: nothing more is taken, and what runs has `drain_seconds` to finish."""
        self.engine.close(drain_seconds=drain_seconds)

    def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Answer a request, and wait for it. An exception in the meantime, such as `KeyboardInterrupt`, frees the
        slots.

        Raises `InvalidRequest` for a prompt that leaves no room in the context, `QueueFull`, `Draining` (also if
        `close` cuts the answer off), and `TinyGPTError` if the decoder fails or the network computes NaN.
        """
        outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
        sequences = self._sequences([request])
        pending = _Pending([request], self.engine.submit(sequences, outputs.put))
        try:
            while not pending.finished:
                pending.add(outputs.get())
        finally:
            self.engine.cancel(pending.ids)
        return self.respond(request, pending.sequences(0))

    async def answer(self, request: GenerateRequest) -> GenerateResponse:
        """`generate` for an event loop, which it never blocks. Cancelling the task frees the slots at the next step."""
        (response,) = await self.answer_all([request])
        return response

    async def answer_all(self, requests: Sequence[GenerateRequest]) -> list[GenerateResponse]:
        """`answer` for several requests. All are taken or none, and the first error ends them all."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def on_output(output: SequenceOutput) -> None:
            if done.done():  # cancelled, or failed before
                return
            try:
                pending.add(output)
            except TinyGPTError as error:
                done.set_exception(error)
            else:
                if pending.finished:
                    done.set_result(None)

        pending = _Pending(requests, self.engine.submit(self._sequences(requests), on_output, loop))
        try:
            await done
        finally:
            self.engine.cancel(pending.ids)
        return [await self._respond_off_loop(request, pending.sequences(i)) for i, request in enumerate(requests)]

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateDelta | GenerateResponse, None]:
        """The model's text in deltas, then the answer. Raises what `generate` does, before the first item. Closing
        the iterator (`aclose`) frees the slots.

        A delta holds whole characters, and text that may become part of a stop string is held back. A choice's last
        delta has its `finish_reason` and may have no text.
        """
        async with contextlib.aclosing(self.stream_all([request])) as items:
            async for _, item in items:
                yield item

    async def stream_all(
        self, requests: Sequence[GenerateRequest]
    ) -> AsyncGenerator[tuple[int, GenerateDelta | GenerateResponse], None]:
        """`stream` for several requests. All are taken or none, and the first error ends them all. Every item comes
        with the number of its request, whose last item is its answer."""
        outputs: asyncio.Queue[SequenceOutput] = asyncio.Queue()
        sequences = self._sequences(requests, stream=True)
        pending = _Pending(requests, self.engine.submit(sequences, outputs.put_nowait, asyncio.get_running_loop()))
        try:
            while not pending.finished:
                output = await outputs.get()
                pending.add(output)
                number, choice = pending.place[output.id]
                delta = delta_of(output, requests[number], choice, self.tokenizer)
                if delta.text or delta.logprobs or delta.finish_reason:
                    yield number, delta
                if pending.is_finished(number):
                    yield number, await self._respond_off_loop(requests[number], pending.sequences(number))
        finally:
            self.engine.cancel(pending.ids)

    def sequences(self, request: GenerateRequest, *, stream: bool = False) -> list[SequenceRequest]:
        """What the engine is asked: one sequence per choice. Raises `ContextLengthExceeded`."""
        return sequence_requests(request, self.tokenizer, self.engine.context_length, stream=stream)

    def respond(self, request: GenerateRequest, sequences: Sequence[SequenceOutput]) -> GenerateResponse:
        """The answer to `request`, made of its finished sequences. May take long for a long text."""
        choices = [answer(choice, request, self._retrieve) for choice in self._raw_choices(request, sequences)]
        return response_of(sequences, choices, model_id=self.model_id)

    async def _respond_off_loop(
        self, request: GenerateRequest, sequences: Sequence[SequenceOutput]
    ) -> GenerateResponse:
        """`respond`, in a thread if it may take long: to judge or repair a long text, or to search for a prompt."""
        short = sum(len(sequence.text) for sequence in sequences) <= _MAX_JUDGED_ON_LOOP
        if is_judged(request) and not (short and all(needs_no_repair(sequence.text) for sequence in sequences)):
            return await asyncio.to_thread(self.respond, request, sequences)
        return response_of(sequences, self._raw_choices(request, sequences), model_id=self.model_id)

    def _raw_choices(self, request: GenerateRequest, sequences: Sequence[SequenceOutput]) -> list[Choice]:
        return [raw_choice(sequence, request, self.tokenizer) for sequence in sequences]

    def _sequences(self, requests: Sequence[GenerateRequest], *, stream: bool = False) -> list[SequenceRequest]:
        return [sequence for request in requests for sequence in self.sequences(request, stream=stream)]

    def _retrieve(self, prompt: str) -> Match | None:
        return self.retrieval.nearest(prompt, floor=self.similarity_floor) if self.retrieval else None


class _Pending:
    """Requests at the engine: the ids of their sequences, and the outputs so far."""

    def __init__(self, requests: Sequence[GenerateRequest], ids: Sequence[int]) -> None:
        self.ids = ids
        rest = iter(ids)
        self._ids_of = [list(islice(rest, request.n)) for request in requests]
        self.place = {one: (number, i) for number, ids in enumerate(self._ids_of) for i, one in enumerate(ids)}
        """By id, the number of the sequence's request, and of its choice."""
        self._outputs: dict[int, list[SequenceOutput]] = {one: [] for one in ids}
        self._unfinished = set(ids)

    @property
    def finished(self) -> bool:
        return not self._unfinished

    def is_finished(self, number: int) -> bool:
        """True if every sequence of this request is."""
        return self._unfinished.isdisjoint(self._ids_of[number])

    def add(self, output: SequenceOutput) -> None:
        """Keep an output. Raises the error that ended the sequence, if one did."""
        if isinstance(output.end, TinyGPTError):
            raise output.end
        if output.end is not None:
            if output.end.finish_reason == "cancelled":  # by `close`: whoever waits here has cancelled nothing
                raise Draining("This model shut down during the answer: try again.")
            self._unfinished.discard(output.id)
        self._outputs[output.id].append(output)

    def sequences(self, number: int) -> list[SequenceOutput]:
        """The whole sequences of a finished request."""
        return [join_outputs(self._outputs[one]) for one in self._ids_of[number]]
