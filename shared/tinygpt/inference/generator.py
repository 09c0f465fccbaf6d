"""The whole way from a request to an answer: decode, post-process, fall back to retrieval."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from itertools import islice
from queue import SimpleQueue

from tinygpt.contracts.errors import ContextLengthExceeded, Draining, TinyGPTError
from tinygpt.contracts.generation import (
    Choice,
    GenerateDelta,
    GenerateRequest,
    GenerateResponse,
    Timings,
    TokenLogprob,
    TopToken,
    Usage,
)
from tinygpt.contracts.models import WeightFormat
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.inference.backend import Backend, choose_backend, make_decoder
from tinygpt.inference.beam import beam_search
from tinygpt.inference.engine import Engine, OnEnd
from tinygpt.inference.postprocess import ignore_syntax_warnings, loops, parses, post_process_code
from tinygpt.inference.retrieval import SIMILARITY_FLOOR, RetrievalIndex
from tinygpt.inference.sequence import Decoded, DecodeRequest, Event, Tokens, sampling_parameters
from tinygpt.model.transformer import TinyGPT

_LEAST_CHARACTERS = 2
_JUDGED_ON_THE_LOOP = 2000
"""Characters: a longer text is looked at in a thread, so that the event loop is not held up."""


class CodeGenerator:
    """A model with its tokenizer, its training prompts and the engine that decodes. Safe to call from several threads
    and event loops at once; `close` ends the engine.

    A request of `n` choices is decoded side by side: choice i with the seed `seed + i`, or each with a fresh one. A
    prompt that leaves no room for a token in the context is refused (`InvalidRequest`); an answer that would need more
    room than there is ends there, as one of `max_new_tokens` does, by `length`.
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
        """End the engine: nothing more is taken, what runs has so many seconds to end."""
        self.engine.close(drain_seconds=drain_seconds)

    def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Answer a request, and wait for it. An exception that comes meanwhile, such as `KeyboardInterrupt`, frees the
        slots.

        Raises `InvalidRequest` for a prompt that leaves no room in the context, `QueueFull`, `Draining` (also where
        `close` ends it), `TinyGPTError` where the decoder fails or the network's output is not a number.
        """
        news: SimpleQueue[Event] = SimpleQueue()
        handles = self.engine.submit(self.decode_requests(request), news.put)
        ended: dict[int, Decoded] = {}
        try:
            while len(ended) < len(handles):
                _note_end(news.get(), ended)
        finally:
            self.engine.cancel(handles)
        return self.respond(request, [ended[handle] for handle in handles])

    async def answer(self, request: GenerateRequest) -> GenerateResponse:
        """`generate` for an event loop, which it never blocks. Cancelling the task frees the slots at the next step."""
        (answer,) = await self.answer_all([request])
        return answer

    async def answer_all(self, requests: Sequence[GenerateRequest]) -> list[GenerateResponse]:
        """`answer` for several requests, which are taken all or none; the first error ends them all."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        ended: dict[int, Decoded] = {}
        decode_requests = [one for request in requests for one in self.decode_requests(request)]

        def deliver(event: Event) -> None:
            try:
                _note_end(event, ended)
            except TinyGPTError as error:
                if not done.done():
                    done.set_exception(error)
            if len(ended) == len(decode_requests) and not done.done():
                done.set_result(None)

        handles = self.engine.submit(decode_requests, deliver, loop)
        try:
            await done
        finally:
            self.engine.cancel(handles)
        decoded = (ended[handle] for handle in handles)
        return [await self._respond_off_the_loop(request, list(islice(decoded, request.n))) for request in requests]

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateDelta | GenerateResponse, None]:
        """The model's text piece by piece, then the answer, which is the last item. Raises what `generate` does, before
        the first item; closing the iterator (`aclose`) frees the slots.

        A piece holds whole characters; text that may become a stop string is held back until it is not one. A choice's
        last piece says why the choice ended, and may hold no text.
        """
        async with contextlib.aclosing(self.stream_all([request])) as pieces:
            async for _, piece in pieces:
                yield piece

    async def stream_all(
        self, requests: Sequence[GenerateRequest]
    ) -> AsyncGenerator[tuple[int, GenerateDelta | GenerateResponse], None]:
        """`stream` for several requests, which are taken all or none; the first error ends them all. Every item comes
        with the number of its request, which ends with its answer."""
        news: asyncio.Queue[Event] = asyncio.Queue()
        decode_requests = [one for request in requests for one in self.decode_requests(request, streams=True)]
        handles = self.engine.submit(decode_requests, news.put_nowait, asyncio.get_running_loop())
        rest = iter(handles)
        choices = [list(islice(rest, request.n)) for request in requests]
        number_of = {handle: number for number, of_request in enumerate(choices) for handle in of_request}
        ended: dict[int, Decoded] = {}
        try:
            while len(ended) < len(handles):
                event = await news.get()
                _note_end(event, ended)
                number = number_of[event.id]
                request, of_request = requests[number], choices[number]
                piece = GenerateDelta(
                    index=of_request.index(event.id),
                    text=event.text,
                    logprobs=self._logprobs(event.tokens) if request.logprobs is not None else None,
                    finish_reason=event.decoded.finish_reason if event.decoded is not None else None,
                )
                if piece.text or piece.logprobs or piece.finish_reason:
                    yield number, piece
                if all(handle in ended for handle in of_request):
                    yield number, await self._respond_off_the_loop(request, [ended[handle] for handle in of_request])
        finally:
            self.engine.cancel(handles)

    def search(self, request: GenerateRequest, *, beams: int) -> GenerateResponse:
        """`generate` by beam search in place of sampling: its `logprobs` and all options of sampling are left aside.

        Raises `InvalidRequest` for a prompt that leaves no room in the context.
        """
        decode_request, *_ = self.decode_requests(request)
        started = time.perf_counter()
        best, *_ = beam_search(
            self.model, decode_request.prompt_ids, beams=beams, max_new_tokens=request.max_new_tokens
        )
        decoded = Decoded(
            text=self.tokenizer.decode(best.ids),
            tokens=Tokens(),
            tokens_written=len(best.ids),
            finish_reason=best.ended,
            prompt_tokens=len(decode_request.prompt_ids),
            queue_seconds=0.0,
            prefill_seconds=0.0,
            decode_seconds=time.perf_counter() - started,
            first_token_seconds=None,
        )
        return self.respond(request, [decoded])

    def decode_requests(self, request: GenerateRequest, *, streams: bool = False) -> list[DecodeRequest]:
        """What the engine is asked, one sequence for each choice. Raises `InvalidRequest` as `generate` does."""
        prompt_ids = self.tokenizer.encode_prompt(request.prompt)
        self._require_room(request.prompt, len(prompt_ids))
        return [
            DecodeRequest(
                prompt_ids,
                sampling_parameters(request, choice=i),
                request.max_new_tokens,
                stop=request.stop,
                logprobs=request.logprobs,
                streams=streams,
            )
            for i in range(request.n)
        ]

    def respond(self, request: GenerateRequest, decoded: Sequence[Decoded]) -> GenerateResponse:
        """The answer to `request`, made of what its sequences ended with."""
        return self._response(request, decoded, [self._choice(request, one) for one in decoded])

    def _response(
        self, request: GenerateRequest, decoded: Sequence[Decoded], choices: Sequence[Choice]
    ) -> GenerateResponse:
        return GenerateResponse(
            **dict(choices[0]),
            model=self.model_id,
            usage=Usage(
                prompt_tokens=decoded[0].prompt_tokens,
                completion_tokens=sum(one.tokens_written for one in decoded),
            ),
            timings=Timings(
                queue=_rounded(max(one.queue_seconds for one in decoded)),
                prefill=_rounded(max(one.prefill_seconds for one in decoded)),
                decode=_rounded(max(one.decode_seconds for one in decoded)),
                first_token=min(
                    (_rounded(one.first_token_seconds) for one in decoded if one.first_token_seconds is not None),
                    default=None,
                ),
            ),
            choices=list(choices) if request.n > 1 else None,
        )

    async def _respond_off_the_loop(self, request: GenerateRequest, decoded: Sequence[Decoded]) -> GenerateResponse:
        """`respond`, in a thread where it may take long: to judge a long text, to repair one, to search the training
        prompts."""
        short = sum(len(one.text) for one in decoded) <= _JUDGED_ON_THE_LOOP
        if not _is_judged(request) or (short and all(_stands(one.text) for one in decoded)):
            return self._response(request, decoded, [self._as_written(request, one) for one in decoded])
        return await asyncio.to_thread(self.respond, request, decoded)

    def _require_room(self, prompt: str, tokens: int) -> None:
        context = self.model.config.context_length
        if tokens >= context:
            raise ContextLengthExceeded(
                f"The prompt has {len(prompt)} characters, {tokens - 2} tokens; this model takes at most {context - 3} "
                "tokens: shorten it, or train with a larger context_length.",
                param="prompt",
            )

    def _choice(self, request: GenerateRequest, decoded: Decoded) -> Choice:
        """The model's code where it is usable, else the nearest training row's, else none; `source` says which."""
        choice = self._as_written(request, decoded)
        if not _is_judged(request):
            return choice
        unusable = _why_unusable(decoded.text)
        if request.post_process and not unusable:
            processed = post_process_code(decoded.text)
            choice.code, choice.repaired = processed.code, processed.repaired
            if not processed.code:
                unusable = "the model's text is not Python, nor could it be repaired"
        if unusable and request.fallback == "auto":
            self._retrieve(request.prompt, unusable, choice)
        elif unusable and request.post_process:
            choice.code, choice.source, choice.repaired = "", "none", False
            choice.note = f"No answer: {unusable}."
        return choice

    def _as_written(self, request: GenerateRequest, decoded: Decoded) -> Choice:
        return Choice(
            code=decoded.text,
            raw=decoded.text,
            source="model",
            finish_reason=decoded.finish_reason,
            repaired=False,
            logprobs=self._logprobs(decoded.tokens) if request.logprobs is not None else None,
        )

    def _retrieve(self, prompt: str, unusable: str, choice: Choice) -> None:
        """Put the nearest training row's code in place of an unusable answer, or nothing below the floor."""
        match = self.retrieval.nearest(prompt, floor=self.similarity_floor) if self.retrieval else None
        choice.repaired = False
        if match is None:
            choice.code, choice.source = "", "none"
            choice.note = f"No answer: {unusable}, and no training prompt is near enough. Try other words."
        else:
            choice.code, choice.source = match.row.code, "retrieval"
            choice.similarity, choice.matched_prompt = match.similarity, match.row.prompt
            choice.note = f"Code of the nearest training prompt, for {unusable}."

    def _logprobs(self, tokens: Tokens) -> list[TokenLogprob]:
        tops = tokens.top or [()] * len(tokens.ids)
        return [
            TokenLogprob(
                token=self._name(token),
                id=token,
                logprob=logprob,
                top=[TopToken(token=self._name(other), id=other, logprob=its) for other, its in top],
            )
            for token, logprob, top in zip(tokens.ids, tokens.logprobs, tops, strict=True)
        ]

    def _name(self, id: int) -> str:
        (name,) = self.tokenizer.token_names([id])
        return name


def _note_end(event: Event, ended: dict[int, Decoded]) -> None:
    """Add the request to those that `ended`, if it has. Raises what ended it."""
    if event.error is not None:
        raise event.error
    if event.decoded is not None:
        if event.decoded.finish_reason == "cancelled":  # not by whoever waits for it: `close` did
            raise Draining("This model was put away while it wrote: try again.")
        ended[event.id] = event.decoded


def _rounded(seconds: float) -> float:
    """To microseconds."""
    return round(seconds, 6)


def _is_judged(request: GenerateRequest) -> bool:
    """Whether what is done with the model's text depends on what it is."""
    return request.post_process or request.fallback == "auto"


def _stands(text: str) -> bool:
    """Whether post-processing would leave the text as it is, and retrieval not be asked."""
    return text == text.strip("\n").rstrip() and _why_unusable(text) is None and parses(text)


def _why_unusable(text: str) -> str | None:
    """Why the model's own text is no answer; None if it may be one."""
    if not text.strip():
        return "the model's text is empty"
    if len(text.strip()) < _LEAST_CHARACTERS:
        return "the model's text is too short"
    if loops(text):
        return "the model's text repeats itself"
    return None
