"""OpenAI's requests, and what they become: a `GenerateRequest` for each prompt.

Fields that change nothing here (`user`, `store`, `metadata`, ...) are ignored. Fields that would change the answer but
are not supported (`tools`, `logit_bias`, ...) are refused with a sentence. Options that only `/generate` has (`top_k`,
`min_p`, `repetition_penalty`, `balanced`, ...) may be sent too, under the same names.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from tinygpt.contracts.generation import (
    MAX_CHOICES,
    MAX_LOGPROBS,
    MAX_NEW_TOKENS,
    MAX_PROMPT_CHARACTERS,
    MAX_STOP_STRINGS,
    GenerateRequest,
    Prompt,
    StopStrings,
    not_blank,
)
from tinygpt.openai.models import ALIAS

MAX_ANSWERS = 64
"""Per request: its prompts times `n`."""
MAX_MESSAGES = 2048
_MIN_TOP_P = 1e-6


def _without_empty(stop: object) -> object:
    """Some clients send empty stop strings. They stop nothing, so they are dropped."""
    strings = [stop] if isinstance(stop, str) else stop
    return [string for string in strings if string != ""] if isinstance(strings, list) else strings


def _refused(instead: str) -> AfterValidator:
    """A validator that refuses every value but an empty one, and says what to do `instead`."""

    def refuse(value: object) -> object:
        if value:
            raise ValueError(f"it is not supported here: {instead}")
        return value

    return AfterValidator(refuse)


# OpenAI's ranges are wider. Their values are mapped to what `/generate` takes.
_TopP = Annotated[float, Field(ge=0, le=1), AfterValidator(lambda top_p: max(_MIN_TOP_P, top_p))]
_TopK = Annotated[int, Field(ge=-1, le=100_000), AfterValidator(lambda top_k: max(0, top_k))]
_Seed = Annotated[int, Field(ge=-(2**63), lt=2**63), AfterValidator(lambda seed: seed % 2**63)]


class StreamOptions(BaseModel):
    include_usage: bool = Field(default=False, description="One more chunk before `[DONE]`, with the usage.")


class SamplingOptions(BaseModel):
    """Fields of both endpoints. `null` means the default, as in OpenAI's API. A field that `/generate` has too means
    the same."""

    model: str | None = Field(
        default=None,
        description=f"`{ALIAS}` (the one that is served), its id, or nothing: `GET /v1/models` lists them.",
    )
    max_tokens: int | None = Field(
        default=None, ge=-1, description="By default, and with 0 or -1, as much as the context has room for."
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="By default 0, not OpenAI's 1.")
    top_p: _TopP | None = Field(default=None, description="By default 1; 0 is the likeliest token alone.")
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES, description="By default 1.")
    stop: Annotated[StopStrings | None, BeforeValidator(_without_empty)] = Field(
        default=None, description=f"One string or up to {MAX_STOP_STRINGS}."
    )
    seed: _Seed | None = Field(default=None, description="Same seed, same answer.")
    stream: bool | None = Field(default=None, description="Server-sent events, ended by `data: [DONE]`.")
    stream_options: StreamOptions | None = None

    top_k: _TopK | None = Field(default=None, description="Not OpenAI's; 0 or -1 is all tokens.")
    min_p: float | None = Field(default=None, ge=0, le=1, description="Not OpenAI's.")
    repetition_penalty: float | None = Field(default=None, ge=1, le=2, description="Not OpenAI's; 1 is none.")
    repetition_window: int | None = Field(default=None, ge=1, le=1024, description="Not OpenAI's; by default 64.")
    balanced: bool | None = Field(default=None, description="Not OpenAI's: keep brackets and quotes balanced.")

    frequency_penalty: Annotated[float | None, _refused("use repetition_penalty")] = None
    presence_penalty: Annotated[float | None, _refused("use repetition_penalty")] = None
    logit_bias: Annotated[dict[str, float] | None, _refused("leave it out")] = None

    @property
    def include_usage(self) -> bool:
        """True if a stream ends with a chunk that has the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @model_validator(mode="after")
    def _stream_options_with_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options goes with stream: true")
        return self

    def as_generate_request(self, prompt: str, logprobs: int | None) -> GenerateRequest:
        """Our request for one prompt. It asks for the model's own text, neither repaired nor replaced."""
        shared = SamplingOptions.model_fields.keys() & GenerateRequest.model_fields.keys()
        options = {name: value for name in shared if (value := getattr(self, name)) is not None}
        return GenerateRequest(
            prompt=prompt,
            max_new_tokens=MAX_NEW_TOKENS if self.max_tokens in (None, 0, -1) else min(self.max_tokens, MAX_NEW_TOKENS),
            logprobs=logprobs,
            post_process=False,
            fallback="never",
            **options,
        )


class CompletionRequest(SamplingOptions):
    """`POST /v1/completions`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": ALIAS, "prompt": "reverse the list nums", "max_tokens": 64}]}
    )

    prompt: Prompt | Annotated[list[Prompt], Field(min_length=1, max_length=MAX_ANSWERS)] = Field(
        description=f"What the code should do; several prompts get `n` answers each, at most {MAX_ANSWERS} in all."
    )
    logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)
    echo: Annotated[bool | None, _refused("the prompt is not part of the answer")] = None
    suffix: Annotated[str | None, _refused("the model writes on from the prompt only")] = None
    best_of: int | None = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _no_token_ids(cls, prompt: object) -> object:
        first = prompt[0] if isinstance(prompt, list) and prompt else None
        if isinstance(first, int | list):
            raise ValueError("token ids are not read here: send the prompt as text")
        return prompt

    @model_validator(mode="after")
    def _not_too_many_answers(self) -> Self:
        prompts = 1 if isinstance(self.prompt, str) else len(self.prompt)
        if prompts * (self.n or 1) > MAX_ANSWERS:
            raise ValueError(f"{prompts} prompts with n = {self.n} are more than {MAX_ANSWERS} answers: ask for fewer")
        return self

    @model_validator(mode="after")
    def _best_of_is_n(self) -> Self:
        if self.best_of not in (None, self.n or 1):
            raise ValueError("best_of is not supported here: ask for n answers and choose")
        return self

    def as_generate_requests(self) -> list[GenerateRequest]:
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        return [self.as_generate_request(prompt, self.logprobs) for prompt in prompts]


class MessagePart(BaseModel):
    """Text, or something that can't be read here, such as an image. That is ignored, except in the prompt."""

    type: str
    text: str = ""


class ChatMessage(BaseModel):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[MessagePart] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""

    @property
    def unreadable(self) -> list[str]:
        """The types of the parts that are not text."""
        parts = self.content if isinstance(self.content, list) else []
        return sorted({part.type for part in parts} - {"text"})


class ChatCompletionRequest(SamplingOptions):
    """`POST /v1/chat/completions`. The last user message is the prompt; the model knows no conversation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": ALIAS, "messages": [{"role": "user", "content": "reverse the list nums"}]}]
        }
    )

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: int | None = Field(default=None, ge=-1, description="The newer name of `max_tokens`.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS, description="Goes with `logprobs`.")
    tools: Annotated[list[Any] | None, _refused("the model writes code and calls nothing")] = None
    functions: Annotated[list[Any] | None, _refused("the model writes code and calls nothing")] = None
    response_format: dict[str, Any] | None = None

    @field_validator("messages")
    @classmethod
    def _has_a_prompt(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        prompt = next((message for message in reversed(messages) if message.role == "user"), None)
        if prompt is None:
            raise ValueError("there is no user message: the last one is the prompt")
        if prompt.unreadable:
            raise ValueError(f"only parts of the type text can be read here, not {', '.join(prompt.unreadable)}")
        if len(prompt.text) > MAX_PROMPT_CHARACTERS:
            raise ValueError(f"the last user message has more than {MAX_PROMPT_CHARACTERS} characters")
        not_blank(prompt.text)
        return messages

    @field_validator("response_format")
    @classmethod
    def _text_only(cls, response_format: dict[str, Any] | None) -> dict[str, Any] | None:
        if response_format is not None and response_format.get("type") != "text":
            raise ValueError("only {'type': 'text'} is supported here")
        return response_format

    @model_validator(mode="after")
    def _top_logprobs_with_logprobs(self) -> Self:
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
