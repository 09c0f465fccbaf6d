"""Our answers in OpenAI's two formats, completions and chats: whole, and as the chunks of a stream."""

import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar

from pydantic import BaseModel

from tinygpt.contracts.generation import (
    Choice,
    FinishReason,
    GenerateDelta,
    GenerateResponse,
    TokenLogprob,
    TopToken,
    Usage,
)
from tinygpt.contracts.models import LoadedModel
from tinygpt.data.tokenizer import TextDecoder, Tokenizer
from tinygpt.http.request_id import random_id
from tinygpt.openai.answers import (
    AssistantMessage,
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatLogprobs,
    ChatTokenLogprob,
    ChatTopLogprob,
    Completion,
    CompletionChoice,
    CompletionLogprobs,
    MessageDelta,
    OpenAIFinishReason,
    OpenAIUsage,
)

_FINISH_REASONS: dict[FinishReason, OpenAIFinishReason] = {
    "eos": "stop",
    "stop": "stop",
    "length": "length",
    "cancelled": "length",
}


class AnswerFormat(ABC):
    """The format of the answer to one request. Everything that it makes has the same id."""

    id_prefix: ClassVar[str]

    def __init__(self, model: LoadedModel, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.origin: dict[str, Any] = {
            "id": f"{self.id_prefix}-{random_id()}",
            "created": int(time.time()),
            "model": model.model_id,
            "system_fingerprint": f"fp_{model.sha256[:12]}",
        }

    def whole(self, answers: Sequence[GenerateResponse]) -> BaseModel:
        """One answer with the choices of all prompts, in the order of the prompts."""
        choices = chain.from_iterable(answer.choices or [answer] for answer in answers)
        return self._whole(list(choices), total_usage([answer.usage for answer in answers]))

    @abstractmethod
    def _whole(self, choices: Sequence[Choice], usage: OpenAIUsage) -> BaseModel: ...

    @abstractmethod
    def first(self, index: int) -> BaseModel | None:
        """The chunk before a choice's text, if the format has one."""

    @abstractmethod
    def delta(self, index: int, delta: GenerateDelta) -> BaseModel:
        """A chunk of a choice's text."""

    @abstractmethod
    def last(self, index: int, reason: FinishReason) -> BaseModel:
        """The chunk that says why a choice ended."""

    @abstractmethod
    def usage(self, usage: OpenAIUsage) -> BaseModel:
        """The stream's last chunk, if the request asks for the usage."""


class CompletionFormat(AnswerFormat):
    id_prefix = "cmpl"

    def __init__(self, model: LoadedModel, tokenizer: Tokenizer) -> None:
        super().__init__(model, tokenizer)
        self._offsets = Counter[int]()
        """Characters of each choice so far. A token may be part of a character, so tokens are decoded in order."""
        self._decoders = defaultdict[int, TextDecoder](tokenizer.text_decoder)

    def _whole(self, choices: Sequence[Choice], usage: OpenAIUsage) -> Completion:
        return self._of(
            *(
                CompletionChoice(
                    index=i,
                    text=choice.raw,
                    logprobs=self._logprobs(i, choice.logprobs),
                    finish_reason=_FINISH_REASONS[choice.finish_reason],
                )
                for i, choice in enumerate(choices)
            ),
            usage=usage,
        )

    def first(self, index: int) -> None:  # noqa: ARG002
        return None

    def delta(self, index: int, delta: GenerateDelta) -> Completion:
        return self._of(CompletionChoice(index=index, text=delta.text, logprobs=self._logprobs(index, delta.logprobs)))

    def last(self, index: int, reason: FinishReason) -> Completion:
        return self._of(CompletionChoice(index=index, text="", finish_reason=_FINISH_REASONS[reason]))

    def usage(self, usage: OpenAIUsage) -> Completion:
        return self._of(usage=usage)

    def _of(self, *choices: CompletionChoice, usage: OpenAIUsage | None = None) -> Completion:
        return Completion(choices=list(choices), usage=usage, **self.origin)

    def _logprobs(self, index: int, tokens: Sequence[TokenLogprob] | None) -> CompletionLogprobs | None:
        if tokens is None:
            return None
        offsets = []
        for token in tokens:
            offsets.append(self._offsets[index])
            self._offsets[index] += len(self._decoders[index]([token.id]))
        return CompletionLogprobs(
            tokens=[token.token for token in tokens],
            token_logprobs=[token.logprob for token in tokens],
            top_logprobs=[{top.token: top.logprob for top in token.top} for token in tokens],
            text_offset=offsets,
        )


class ChatFormat(AnswerFormat):
    id_prefix = "chatcmpl"

    def _whole(self, choices: Sequence[Choice], usage: OpenAIUsage) -> ChatCompletion:
        return ChatCompletion(
            choices=[
                ChatChoice(
                    index=i,
                    message=AssistantMessage(content=choice.raw),
                    logprobs=self._logprobs(choice.logprobs),
                    finish_reason=_FINISH_REASONS[choice.finish_reason],
                )
                for i, choice in enumerate(choices)
            ],
            usage=usage,
            **self.origin,
        )

    def first(self, index: int) -> ChatCompletionChunk:
        return self._of(ChatChunkChoice(index=index, delta=MessageDelta(role="assistant", content="")))

    def delta(self, index: int, delta: GenerateDelta) -> ChatCompletionChunk:
        return self._of(
            ChatChunkChoice(
                index=index, delta=MessageDelta(content=delta.text), logprobs=self._logprobs(delta.logprobs)
            )
        )

    def last(self, index: int, reason: FinishReason) -> ChatCompletionChunk:
        return self._of(ChatChunkChoice(index=index, delta=MessageDelta(), finish_reason=_FINISH_REASONS[reason]))

    def usage(self, usage: OpenAIUsage) -> ChatCompletionChunk:
        return self._of(usage=usage)

    def _of(self, *choices: ChatChunkChoice, usage: OpenAIUsage | None = None) -> ChatCompletionChunk:
        return ChatCompletionChunk(choices=list(choices), usage=usage, **self.origin)

    def _logprobs(self, tokens: Sequence[TokenLogprob] | None) -> ChatLogprobs | None:
        if tokens is None:
            return None
        return ChatLogprobs(
            content=[
                ChatTokenLogprob(
                    **self._token(token), top_logprobs=[ChatTopLogprob(**self._token(top)) for top in token.top]
                )
                for token in tokens
            ]
        )

    def _token(self, token: TopToken) -> dict[str, Any]:
        return {"token": token.token, "logprob": token.logprob, "bytes": list(self.tokenizer.token_bytes(token.id))}


def total_usage(parts: Sequence[Usage]) -> OpenAIUsage:
    read, written = sum(part.prompt_tokens for part in parts), sum(part.completion_tokens for part in parts)
    return OpenAIUsage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)
