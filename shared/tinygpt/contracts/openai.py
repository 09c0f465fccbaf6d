"""OpenAI's API as far as a small text model can honour it: requests, answers and the chunks of a stream.

Fields of theirs that change nothing here (`user`, `store`, `metadata`, ...) are taken and ignored. Those that would
change the answer and can't (`tools`, `logit_bias`, ...) are refused in a sentence. What they lack and `/generate` has
(`top_k`, `min_p`, `repetition_penalty`, `balanced`, ...) may be sent beside theirs, under the same names.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tinygpt.contracts.generation import (
    MAX_CHOICES,
    MAX_LOGPROBS,
    MAX_NEW_TOKENS,
    MAX_PROMPT_CHARACTERS,
    GenerateRequest,
    Prompt,
    StopStrings,
    not_blank,
)

ALIAS = "tinygpt"
"""The model that is served now, whichever that is."""
OpenAIFinishReason = Literal["stop", "length"]


def _is_none(value: object) -> bool:
    return value is None


class StreamOptions(BaseModel):
    include_usage: bool = Field(default=False, description="One more chunk before `[DONE]`, with the usage.")


class SamplingOptions(BaseModel):
    """What both ways of asking share. `null` is the default, as in OpenAI's API."""

    model: str | None = Field(
        default=None,
        description=f"`{ALIAS}` (the one that is served), its id, or nothing: `GET /v1/models` lists them.",
    )
    max_tokens: int | None = Field(default=None, ge=1, description="By default as much as the context has room for.")
    temperature: float | None = Field(default=None, ge=0, le=2, description="By default 0, not OpenAI's 1.")
    top_p: float | None = Field(default=None, gt=0, le=1, description="By default 1.")
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES, description="By default 1.")
    stop: StopStrings | None = Field(default=None, description="One string or up to 4.")
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63, description="Same seed, same answer.")
    stream: bool | None = Field(default=None, description="Server-sent events, ended by `data: [DONE]`.")
    stream_options: StreamOptions | None = None

    top_k: int | None = Field(default=None, ge=-1, le=100_000, description="Not OpenAI's; 0 or -1 is all tokens.")
    min_p: float | None = Field(default=None, ge=0, le=1, description="Not OpenAI's.")
    repetition_penalty: float | None = Field(default=None, ge=1, le=2, description="Not OpenAI's; 1 is none.")
    repetition_window: int | None = Field(default=None, ge=1, le=1024, description="Not OpenAI's; by default 64.")
    balanced: bool | None = Field(default=None, description="Not OpenAI's: keep brackets and quotes balanced.")

    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    logit_bias: dict[str, float] | None = None

    unsupported: ClassVar[dict[str, str]] = {
        "frequency_penalty": "use repetition_penalty",
        "presence_penalty": "use repetition_penalty",
        "logit_bias": "leave it out",
    }
    """Fields that are refused when they say anything, and what to do instead."""

    @model_validator(mode="after")
    def _only_what_can_be_honoured(self) -> Self:
        for name, instead in self.unsupported.items():
            if getattr(self, name):
                raise ValueError(f"{name} is not supported here: {instead}")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options goes with stream: true")
        return self

    def as_generate_request(self, prompt: str, logprobs: int | None) -> GenerateRequest:
        """The same request in the project's own words: the model's text, neither repaired nor replaced."""
        given = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": None if self.top_k is None else max(0, self.top_k),
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "repetition_window": self.repetition_window,
            "seed": None if self.seed is None else self.seed & (2**63 - 1),
            "balanced": self.balanced,
            "n": self.n,
            "stop": self.stop,
        }
        return GenerateRequest(
            prompt=prompt,
            max_new_tokens=min(self.max_tokens or MAX_NEW_TOKENS, MAX_NEW_TOKENS),
            logprobs=logprobs,
            stream=bool(self.stream),
            post_process=False,
            fallback="never",
            **{name: value for name, value in given.items() if value is not None},
        )


class CompletionRequest(SamplingOptions):
    """`POST /v1/completions`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": ALIAS, "prompt": "reverse the list nums", "max_tokens": 64}]}
    )

    prompt: Prompt | Annotated[list[Prompt], Field(min_length=1, max_length=MAX_CHOICES)] = Field(
        description="What the code should do; several prompts get `n` answers each."
    )
    logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None

    unsupported: ClassVar[dict[str, str]] = SamplingOptions.unsupported | {
        "echo": "the prompt is not part of the answer",
        "suffix": "the model writes on from the prompt only",
    }

    @model_validator(mode="after")
    def _best_of_is_n(self) -> Self:
        if self.best_of not in (None, self.n or 1):
            raise ValueError("best_of is not supported here: ask for n answers and choose")
        return self

    def as_generate_requests(self) -> list[GenerateRequest]:
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        return [self.as_generate_request(prompt, self.logprobs) for prompt in prompts]


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One of the conversation. Parts other than text can't be read."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class ChatCompletionRequest(SamplingOptions):
    """`POST /v1/chat/completions`. The last user message is the prompt; the model knows no conversation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": ALIAS, "messages": [{"role": "user", "content": "reverse the list nums"}]}]
        }
    )

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1, description="The newer name of `max_tokens`.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS, description="Goes with `logprobs`.")
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None

    unsupported: ClassVar[dict[str, str]] = SamplingOptions.unsupported | {
        "tools": "the model writes code and calls nothing",
        "functions": "the model writes code and calls nothing",
    }

    @field_validator("messages")
    @classmethod
    def _asks_something(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        asked = next((message.text for message in reversed(messages) if message.role == "user"), None)
        if asked is None:
            raise ValueError("there is no user message: the last one is the prompt")
        if len(asked) > MAX_PROMPT_CHARACTERS:
            raise ValueError(f"the last user message has more than {MAX_PROMPT_CHARACTERS} characters")
        not_blank(asked)
        return messages

    @model_validator(mode="after")
    def _text_with_logprobs_or_not(self) -> Self:
        if self.response_format is not None and self.response_format.get("type") != "text":
            raise ValueError("response_format is not supported here, but for {'type': 'text'}")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs goes with logprobs: true")
        return self

    @model_validator(mode="after")
    def _newer_name_wins(self) -> Self:
        if self.max_completion_tokens is not None:
            self.max_tokens = self.max_completion_tokens
        return self

    def as_generate_requests(self) -> list[GenerateRequest]:
        prompt = next(message.text for message in reversed(self.messages) if message.role == "user")
        return [self.as_generate_request(prompt, (self.top_logprobs or 0) if self.logprobs else None)]


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


class OpenAIModel(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Seconds since the epoch.")
    owned_by: str = ALIAS


class OpenAIModelList(BaseModel):
    """`GET /v1/models`."""

    object: Literal["list"] = "list"
    data: list[OpenAIModel]
