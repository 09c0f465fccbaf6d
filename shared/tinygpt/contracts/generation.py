"""`POST /generate`: the request, the answer, and the deltas of a stream."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

FinishReason = Literal["eos", "stop", "length", "cancelled"]
"""`eos`: the model ended the answer. `stop`: a stop string came. `length`: `max_new_tokens`, or the context is full."""
Source = Literal["model", "retrieval", "none"]

MAX_PROMPT_CHARACTERS = 20_000
MAX_NEW_TOKENS = 4096
MAX_STOP_STRINGS = 32
MAX_LOGPROBS = 20
MAX_CHOICES = 16


def not_blank(prompt: str) -> str:
    """The prompt itself. Raises `ValueError` if it is only white space."""
    if not prompt.strip():
        raise ValueError("the prompt is blank: say what the code should do")
    return prompt


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS), AfterValidator(not_blank)]
StopString = Annotated[str, Field(min_length=1, max_length=128)]
StopStrings = Annotated[
    list[StopString],
    BeforeValidator(_as_list, json_schema_input_type=StopString | list[StopString]),
    Field(max_length=MAX_STOP_STRINGS),
]


class SampledRequest(BaseModel):
    """A prompt, and how to choose each token of the answer. By default it is the most likely one."""

    prompt: Prompt = Field(description="What the code should do, in your words.")
    temperature: float = Field(default=0.0, ge=0, le=2, description="0 takes the most likely token every time.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Sample from the smallest set with this probability.")
    top_k: int = Field(default=0, ge=0, le=100_000, description="Sample from this many most likely tokens; 0 from all.")
    min_p: float = Field(default=0.0, ge=0, le=1, description="Minimum probability relative to the most likely token.")
    repetition_penalty: float = Field(default=1.0, ge=1, le=2, description="1 is none.")
    repetition_window: int = Field(
        default=64, ge=1, le=1024, description="Recent output tokens that the penalty applies to."
    )
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="Same seed, same answer.")
    balanced: bool = Field(
        default=False, description="Sample only what keeps brackets and quotes balanced: fewer answers need repair."
    )


class GenerateRequest(SampledRequest):
    """A prompt and how to sample its answer. Every option has a default: the most likely answer, post-processed.

    Sampling applies the options in this order: repetition penalty, temperature, `top_k`, `top_p`, `min_p`, then the
    draw. With `temperature` 0 nothing is drawn, and the cuts have no effect.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"prompt": "reverse the list nums"},
                {"prompt": "function that counts vowels", "temperature": 0.8, "top_p": 0.9, "seed": 7},
                {"prompt": "read a csv file", "temperature": 0.8, "n": 3, "stop": ["\n\n"], "stream": True},
            ]
        },
    )

    max_new_tokens: int = Field(
        default=256,
        ge=1,
        le=MAX_NEW_TOKENS,
        description="If the context has less room, as much as it has.",
    )
    n: int = Field(
        default=1,
        ge=1,
        le=MAX_CHOICES,
        description="How many answers: answer i with the seed `seed + i`. With temperature 0 they are equal.",
    )
    stop: StopStrings = Field(
        default=[],
        description=f"One string or up to {MAX_STOP_STRINGS}. The answer ends before the first one that appears in it.",
    )
    logprobs: int | None = Field(
        default=None,
        ge=0,
        le=MAX_LOGPROBS,
        description="Return each token's log probability, and those of this many most likely tokens: the model's own, "
        "before temperature, penalty and cuts.",
    )
    stream: bool = Field(
        default=False, description="Server-sent events: the model's text as it comes, then the answer."
    )
    post_process: bool = Field(default=True, description="Close what is open, or cut to the last whole statement.")
    fallback: Literal["auto", "never"] = Field(
        default="auto",
        description="`auto`: if the model has no usable answer, return the nearest training row's code.",
    )


class TopToken(BaseModel):
    """A candidate for a token, with the model's log probability (natural logarithm)."""

    token: str
    id: int
    logprob: float


class TokenLogprob(TopToken):
    """A token of the answer. `top` has the most likely candidates at its place, the most likely first."""

    top: list[TopToken] = []


class Usage(BaseModel):
    """Tokens read and tokens written. `completion_tokens` counts all `n` choices."""

    prompt_tokens: int
    completion_tokens: int


class Timings(BaseModel):
    """Seconds that the request waited for a slot, that its prompt was read, and that its answer was written.

    With `n` choices, each is that of the slowest.
    """

    queue: float
    prefill: float
    decode: float
    first_token: float | None = Field(
        default=None, description="From arrival to the first token of any choice; null if there was none."
    )


class Choice(BaseModel):
    """An answer. `source` says where it is from: the model, a training row (`retrieval`), or nowhere (`none`)."""

    code: str = Field(examples=["nums[::-1]"])
    raw: str = Field(description="What the model wrote, before post-processing and fallback.", examples=["nums[::-1]"])
    source: Source
    finish_reason: FinishReason
    repaired: bool = Field(description="Post-processing changed the model's text so that it parses.")
    similarity: float | None = Field(
        default=None, description="0 to 100: how similar the retrieved training prompt is to yours."
    )
    matched_prompt: str | None = Field(default=None, description="The training prompt whose code was retrieved.")
    note: str | None = Field(default=None, description="Why there is no answer, or why it was retrieved.")
    logprobs: list[TokenLogprob] | None = Field(default=None, description="Of the tokens of `raw`, if requested.")


class GenerateResponse(Choice):
    """The answer. With `n` above 1, `choices` has all answers, and this one is the first."""

    id: str = Field(default="", description="The id of the answer; the same in every event of a stream.")
    model: str = Field(description="The run that trained the model.")
    usage: Usage
    timings: Timings
    choices: list[Choice] | None = Field(default=None, description="Only with `n` above 1.")


class GenerateDelta(BaseModel):
    """New text of one of the `n` choices, which is `index`. The choice's last delta has a `finish_reason`."""

    id: str = ""
    index: int = 0
    text: str
    logprobs: list[TokenLogprob] | None = None
    finish_reason: FinishReason | None = None
