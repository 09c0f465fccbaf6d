"""What OpenAI's clients receive: whole answers, and the chunks of a stream."""

from typing import Literal

from pydantic import BaseModel, Field

OpenAIFinishReason = Literal["stop", "length"]


def _is_none(value: object) -> bool:
    return value is None


class OpenAIUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionLogprobs(BaseModel):
    """The older style: four lists, an entry a token. `text_offset` counts characters from the start of the answer."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: OpenAIFinishReason | None = None


class Completion(BaseModel):
    """The answer of `POST /v1/completions`, and each chunk of its stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int = Field(description="Seconds since the epoch.")
    model: str
    system_fingerprint: str | None = Field(default=None, description="Changes with the weights.")
    choices: list[CompletionChoice]
    usage: OpenAIUsage | None = None


class ChatTopLogprob(BaseModel):
    token: str
    logprob: float
    bytes: list[int]


class ChatTokenLogprob(ChatTopLogprob):
    top_logprobs: list[ChatTopLogprob]


class ChatLogprobs(BaseModel):
    content: list[ChatTokenLogprob]
    refusal: None = None


class AssistantMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: OpenAIFinishReason


class ChatCompletion(BaseModel):
    """The answer of `POST /v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="Seconds since the epoch.")
    model: str
    system_fingerprint: str | None = Field(default=None, description="Changes with the weights.")
    choices: list[ChatChoice]
    usage: OpenAIUsage


class MessageDelta(BaseModel):
    """What a chunk adds to the message; the role comes first."""

    role: Literal["assistant"] | None = Field(default=None, exclude_if=_is_none)
    content: str | None = Field(default=None, exclude_if=_is_none)


class ChatChunkChoice(BaseModel):
    index: int
    delta: MessageDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: OpenAIFinishReason | None = None


class ChatCompletionChunk(BaseModel):
    """Each chunk of a chat's stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int = Field(description="Seconds since the epoch.")
    model: str
    system_fingerprint: str | None = None
    choices: list[ChatChunkChoice]
    usage: OpenAIUsage | None = None
