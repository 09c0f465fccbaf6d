"""The whole way from a request to an answer: decode, post-process, fall back to retrieval."""

import time
from collections.abc import AsyncIterator, Callable

from tinygpt.contracts.errors import InvalidRequest
from tinygpt.contracts.generation import GenerateDelta, GenerateRequest, GenerateResponse, Usage
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.inference.decoder import Decoded, decode
from tinygpt.inference.postprocess import loops, post_process_code
from tinygpt.inference.retrieval import SIMILARITY_FLOOR, RetrievalIndex
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.model.transformer import TinyGPT

_LEAST_CHARACTERS = 2


class CodeGenerator:
    """A model with its tokenizer and its training prompts. Safe to call from several threads."""

    def __init__(
        self,
        model: TinyGPT,
        tokenizer: Tokenizer,
        retrieval: RetrievalIndex | None = None,
        *,
        model_id: str,
        similarity_floor: float = SIMILARITY_FLOOR,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.retrieval = retrieval
        self.model_id = model_id
        self.similarity_floor = similarity_floor

    def generate(self, request: GenerateRequest, should_stop: Callable[[], bool] = lambda: False) -> GenerateResponse:
        """Answer a request. Raises `InvalidRequest` for a prompt that leaves no room in the context."""
        started = time.perf_counter()
        prompt_ids = self.tokenizer.encode_prompt(request.prompt)
        self._require_room(request.prompt, len(prompt_ids))
        decoded = decode(
            self.model,
            prompt_ids,
            SamplingParameters(
                temperature=request.temperature,
                top_p=request.top_p,
                repetition_penalty=request.repetition_penalty,
                repetition_window=request.repetition_window,
                seed=request.seed,
            ),
            max_new_tokens=request.max_new_tokens,
            should_stop=should_stop,
        )
        answer = self._answer(request, decoded)
        answer.usage = Usage(prompt_tokens=len(prompt_ids), completion_tokens=len(decoded.ids))
        answer.seconds = round(time.perf_counter() - started, 4)
        return answer

    async def answer(self, request: GenerateRequest) -> GenerateResponse:
        """`generate` for an event loop: any number at once. Cancelling the task frees the slots at the next step.

        Raises `InvalidRequest` for a prompt that leaves no room in the context, `QueueFull`, `Draining`.
        """
        raise NotImplementedError

    def stream(self, request: GenerateRequest) -> AsyncIterator[GenerateDelta | GenerateResponse]:
        """The model's text piece by piece, then the answer, which is the last item. Raises what `answer` does, at the
        first item; closing the iterator (`aclose`) frees the slots.

        A piece holds whole characters; text that may become a stop string is held back until it is not one.
        """
        raise NotImplementedError

    def close(self, *, drain_seconds: float = 0.0) -> None:
        """End the engine: `Engine.close`."""

    def _require_room(self, prompt: str, tokens: int) -> None:
        context = self.model.config.context_length
        if tokens >= context:
            raise InvalidRequest(
                f"The prompt has {len(prompt)} characters, {tokens - 2} tokens; this model takes at most {context - 3} "
                "tokens: shorten it, or train with a larger context_length.",
                param="prompt",
            )

    def _answer(self, request: GenerateRequest, decoded: Decoded) -> GenerateResponse:
        """The model's code where it is usable, else the nearest training row's, else none; `source` says which."""
        text = self.tokenizer.decode(decoded.ids)
        unusable = _why_unusable(text)
        code, repaired = text, False
        if request.post_process and not unusable:
            processed = post_process_code(text)
            code, repaired = processed.code, processed.repaired
            if not code:
                unusable = "the model's text is not Python, nor could it be repaired"
        answer = GenerateResponse(
            code=code,
            source="model",
            finish_reason=decoded.finish_reason,
            repaired=repaired,
            model_id=self.model_id,
            usage=Usage(prompt_tokens=0, completion_tokens=0),
            seconds=0.0,
        )
        if unusable and request.retrieval and decoded.finish_reason != "cancelled":
            self._retrieve(request.prompt, unusable, answer)
        elif unusable and request.post_process:
            answer.code, answer.source, answer.note = "", "none", f"No answer: {unusable}."
        return answer

    def _retrieve(self, prompt: str, unusable: str, answer: GenerateResponse) -> None:
        """Put the nearest training row's code in place of an unusable answer, or nothing below the floor."""
        match = self.retrieval.nearest(prompt, floor=self.similarity_floor) if self.retrieval else None
        answer.repaired = False
        if match is None:
            answer.code, answer.source = "", "none"
            answer.note = f"No answer: {unusable}, and no training prompt is near enough. Try other words."
        else:
            answer.code, answer.source = match.row.code, "retrieval"
            answer.similarity, answer.matched_prompt = match.similarity, match.row.prompt
            answer.note = f"Code of the nearest training prompt, for {unusable}."


def _why_unusable(text: str) -> str | None:
    """Why the model's own text is no answer; None if it may be one."""
    if not text.strip():
        return "the model's text is empty"
    if len(text.strip()) < _LEAST_CHARACTERS:
        return "the model's text is too short"
    if loops(text):
        return "the model's text repeats itself"
    return None
