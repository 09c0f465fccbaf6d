"""`POST /generate`: what may be asked and what comes back."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

FinishReason = Literal["eos", "length", "cancelled"]
Source = Literal["model", "retrieval", "none"]


class GenerateRequest(BaseModel):
    """A prompt and how to sample its answer."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"prompt": "reverse the list nums"},
                {"prompt": "function that counts vowels", "temperature": 0.8, "top_p": 0.9, "seed": 7},
            ]
        },
    )

    prompt: str = Field(min_length=1, max_length=20_000, description="What the code should do, in your words.")
    max_new_tokens: int = Field(default=256, ge=1, le=4096)
    temperature: float = Field(default=0.0, ge=0, le=2, description="0 takes the likeliest token every time.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Sample from the smallest set with this probability.")
    repetition_penalty: float = Field(default=1.0, ge=1, le=2, description="1 is none.")
    repetition_window: int = Field(default=64, ge=1, le=1024, description="Recent output tokens that it looks at.")
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="Same seed, same answer.")
    post_process: bool = Field(default=True, description="Close what is open, or cut to the last whole statement.")
    retrieval: bool = Field(
        default=True, description="Where the model has no usable answer, give the nearest training row's code."
    )

    @field_validator("prompt")
    @classmethod
    def _not_blank(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("the prompt is blank: say what the code should do")
        return prompt


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class GenerateResponse(BaseModel):
    """The answer. `source` says who wrote it: the model, a training row (`retrieval`), or nobody (`none`)."""

    code: str = Field(examples=["nums[::-1]"])
    source: Source
    finish_reason: FinishReason
    repaired: bool = Field(description="Post-processing changed the model's text so that it parses.")
    similarity: float | None = Field(
        default=None, description="0 to 100: how near the retrieved training prompt is to yours."
    )
    matched_prompt: str | None = Field(default=None, description="The training prompt whose code was retrieved.")
    note: str | None = Field(default=None, description="Why there is no answer, or why it was retrieved.")
    model_id: str
    usage: Usage
    seconds: float
