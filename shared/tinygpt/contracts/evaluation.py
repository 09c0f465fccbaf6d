"""The quality of a model in a few numbers, for its manifest and for `GET /models`."""

from pydantic import BaseModel, Field


class EvaluationSummary(BaseModel):
    """Shares are from 0 to 1. `model` is the model alone; `system` adds post-processing and retrieval."""

    rows: int = Field(description="Rows judged, each by running its check.")
    samples: int = Field(description="Answers to each row.")
    temperature: float
    model_pass_at_1: float
    system_pass_at_1: float
    model_pass_at_1_by_split: dict[str, float] = Field(description="Empty if the rows name no split.")
    parse_rate: float = Field(description="Of the model's own answers, those that are whole Python.")
    exact_match: float = Field(description="Of the model's own answers, those with the expected syntax tree.")
    retrieval_share: float = Field(description="Of the system's answers, those that are a training row's code.")
    unanswered_share: float = Field(description="Of the rows, those that get no answer from the system.")
    memorised_share: float = Field(
        description="Of the model's own answers, those that are the code of the nearest training prompt."
    )
    seconds: float
