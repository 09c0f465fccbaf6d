"""`POST /explain`: how an answer came about, token by token."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tinygpt.contracts.generation import FinishReason, SampledRequest

MAX_EXPLAINED_TOKENS = 256
MAX_CANDIDATES = 50
MAX_WEIGHTS = 500_000
"""Attention weights in one answer: about 4 MB of JSON."""


class ExplainRequest(SampledRequest):
    """A prompt, how to sample its answer, as for `/generate`, and how much of the way to show."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"prompt": "reverse the list nums", "candidates": 5},
                {"prompt": "reverse the list nums", "temperature": 0.8, "top_p": 0.9, "seed": 7, "attention": True},
            ]
        },
    )

    max_new_tokens: int = Field(default=64, ge=1, le=MAX_EXPLAINED_TOKENS)
    candidates: int = Field(default=10, ge=1, le=MAX_CANDIDATES, description="Likeliest tokens shown at each step.")
    attention: bool = Field(default=False, description="Give the attention weights too.")
    layers: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None, min_length=1, description="Attention of these only, counted from 0; by default of all."
    )
    heads: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None, min_length=1, description="Attention of these only, counted from 0; by default of all."
    )


class ExplainedToken(BaseModel):
    """`text` is how it reads, control tokens written out."""

    id: int
    text: str


class Candidate(ExplainedToken):
    """A token that might come next, through each step of sampling; 0 where a step left it out.

    The probabilities of all tokens sum to 1 after every step.
    """

    logit: float = Field(description="What the network gave.")
    probability: float = Field(description="The network's own: the softmax of the logits.")
    after_penalty: float = Field(
        description="Without what may not come (control tokens, what `balanced` forbids); recent tokens less likely."
    )
    after_temperature: float = Field(description="All on the likeliest token where the temperature is 0.")
    after_top_k: float
    after_top_p: float
    after_min_p: float = Field(description="What the token is drawn from.")


class ExplainedStep(BaseModel):
    """One token of the answer. The candidates are the network's likeliest first; the taken one is always among them."""

    taken: ExplainedToken
    entropy: float = Field(description="Of the network's own distribution, in bits: 0 is certain.")
    sampled_entropy: float = Field(description="Of the distribution that the token was drawn from, in bits.")
    candidates: list[Candidate]


class AttentionMap(BaseModel):
    """Where one head of one layer looked. `weights[t][s]` is how much token t took from token s, s from 0 to t; a row
    sums to 1. Tokens are the prompt's, then the answer's."""

    layer: int
    head: int
    weights: list[list[float]]


class Explanation(BaseModel):
    """The prompt as tokens, the steps of the answer, and the attention maps where asked for."""

    model: str
    prompt_tokens: list[ExplainedToken]
    steps: list[ExplainedStep] = Field(description="The last one takes `<EOS>` where the model ended.")
    text: str
    finish_reason: FinishReason
    attention: list[AttentionMap] | None = None
