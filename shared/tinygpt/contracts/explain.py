"""`POST /explain`: how an answer came about, token by token."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tinygpt.contracts.generation import FinishReason, SampledRequest

MAX_EXPLAINED_TOKENS = 256
MAX_CANDIDATES = 50
MAX_WEIGHTS = 500_000
"""Attention weights in one answer: about 4 MB of JSON."""


class ExplainRequest(SampledRequest):
    """A prompt, how to sample its answer (as for `/generate`), and how much of each step to show."""

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
    candidates: int = Field(default=10, ge=1, le=MAX_CANDIDATES, description="Most likely tokens shown at each step.")
    attention: bool = Field(default=False, description="Return the attention weights too.")
    layers: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None, min_length=1, description="Return the attention of these only, counted from 0. Default: all."
    )
    heads: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None, min_length=1, description="Return the attention of these only, counted from 0. Default: all."
    )


class ExplainedToken(BaseModel):
    """A token. `text` is readable: control tokens are written out, such as `<EOS>`."""

    id: int
    text: str


class Candidate(ExplainedToken):
    """A candidate for the next token: its probability after each stage of sampling, 0 from where it is left out.

    The probabilities of all tokens sum to 1 after every stage.
    """

    logit: float = Field(description="The network's output.")
    probability: float = Field(description="The network's own: the softmax of the logits.")
    after_penalty: float = Field(
        description="Without forbidden tokens (control tokens, what `balanced` forbids); recent tokens are less likely."
    )
    after_temperature: float = Field(description="With temperature 0, all of it is on the most likely token.")
    after_top_k: float
    after_top_p: float
    after_min_p: float = Field(description="The distribution that the token is drawn from.")


class ExplainedStep(BaseModel):
    """One token of the answer. The candidates are the network's most likely, and always include the taken one."""

    taken: ExplainedToken
    entropy: float = Field(description="Of the network's own distribution, in bits: 0 is certain.")
    sampled_entropy: float = Field(description="Of the distribution that the token was drawn from, in bits.")
    candidates: list[Candidate]


class AttentionMap(BaseModel):
    """The attention of one head of one layer. `weights[t][s]` is how much token t takes from token s, s from 0 to t.

    A row sums to 1. The tokens are the prompt's, then the answer's.
    """

    layer: int
    head: int
    weights: list[list[float]]


class Explanation(BaseModel):
    """The prompt as tokens, the steps of the answer, and the attention maps if requested."""

    model: str
    prompt_tokens: list[ExplainedToken]
    steps: list[ExplainedStep] = Field(description="If the model ended the answer, the last step takes `<EOS>`.")
    text: str
    finish_reason: FinishReason
    attention: list[AttentionMap] | None = None
