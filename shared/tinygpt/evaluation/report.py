"""The result of an evaluation as plain data."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Self

from pydantic import BaseModel, Field

from tinygpt.contracts.evaluation import EvaluationSummary
from tinygpt.contracts.generation import Source
from tinygpt.evaluation.pass_at_k import mean_pass_at_k, reported_ks


class Answered(BaseModel):
    """The answers to one row, by the model alone or by the whole system. `code` is the first answer. The counts are out
    of the report's `samples`."""

    code: str
    source: Source
    parsed: int = 0
    exact: int = 0
    passed: int = 0
    retrieved: int = 0
    unanswered: int = 0
    reason: str = Field(default="", description='Why the first failing answer failed; "" if all passed.')


class RowOutcome(BaseModel):
    """One row: its prompt and expected code, the answers, and the nearest training row."""

    prompt: str
    expected: str
    check: str
    family: str
    split: str
    model: Answered
    system: Answered
    nearest_prompt: str | None = None
    nearest_code: str | None = None
    similarity: float = Field(default=0.0, description="From 0 to 100, between the sorted words of the two prompts.")
    memorised: bool = Field(default=False, description="The model's code is that of the nearest training row.")
    seen_code: bool = Field(default=False, description="The model's code is that of any training row.")


class BrokenRow(BaseModel):
    """A row whose own code fails its check on this machine. No number counts it."""

    prompt: str
    reason: str


class Score(BaseModel):
    """Shares from 0 to 1 over a group's rows and samples."""

    pass_at_k: dict[int, float]
    parse_rate: float
    exact_match: float
    retrieval_share: float
    unanswered_share: float

    @property
    def pass_at_1(self) -> float:
        return self.pass_at_k[1]

    @classmethod
    def of(cls, answers: list[Answered], samples: int) -> Self:
        total = max(1, len(answers) * samples)
        passed = [answer.passed for answer in answers]
        return cls(
            pass_at_k={k: mean_pass_at_k(passed, samples, k) for k in reported_ks(samples)},
            parse_rate=sum(answer.parsed for answer in answers) / total,
            exact_match=sum(answer.exact for answer in answers) / total,
            retrieval_share=sum(answer.retrieved for answer in answers) / total,
            unanswered_share=sum(answer.unanswered for answer in answers) / total,
        )


class Novelty(BaseModel):
    """How many of the model's first answers are memorised and how many new. A pass rate is None if there is no such
    row."""

    memorised_rows: int
    memorised_pass: float | None
    new_rows: int
    new_pass: float | None
    seen_code_rows: int
    mean_similarity: float

    @classmethod
    def of(cls, outcomes: list[RowOutcome], samples: int) -> Self:
        memorised = [outcome.model.passed for outcome in outcomes if outcome.memorised]
        new = [outcome.model.passed for outcome in outcomes if not outcome.memorised]
        return cls(
            memorised_rows=len(memorised),
            memorised_pass=mean_pass_at_k(memorised, samples, 1) if memorised else None,
            new_rows=len(new),
            new_pass=mean_pass_at_k(new, samples, 1) if new else None,
            seen_code_rows=sum(outcome.seen_code for outcome in outcomes),
            mean_similarity=sum(outcome.similarity for outcome in outcomes) / max(1, len(outcomes)),
        )


class Group(BaseModel):
    """The scores of some rows: a split, a topic, a family, or all."""

    name: str
    rows: int
    model: Score
    system: Score
    novelty: Novelty

    @classmethod
    def of(cls, name: str, outcomes: list[RowOutcome], samples: int) -> Self:
        return cls(
            name=name,
            rows=len(outcomes),
            model=Score.of([outcome.model for outcome in outcomes], samples),
            system=Score.of([outcome.system for outcome in outcomes], samples),
            novelty=Novelty.of(outcomes, samples),
        )


def groups_by(outcomes: Sequence[RowOutcome], samples: int, name_of: Callable[[RowOutcome], str]) -> list[Group]:
    """One group per name, sorted by name. No groups if no row has a name."""
    members: defaultdict[str, list[RowOutcome]] = defaultdict(list)
    for outcome in outcomes:
        members[name_of(outcome)].append(outcome)
    if set(members) == {""}:
        return []
    return [Group.of(name or "(none)", members[name], samples) for name in sorted(members)]


class EvaluationReport(BaseModel):
    """The whole result. `outcomes` has every row that was judged; all scores follow from it."""

    model_id: str
    created_at: float = Field(description="Seconds since the epoch.")
    samples: int
    temperature: float
    seed: int
    seconds: float
    training_rows: int
    sandbox_layers: list[str] = Field(description="What isolated the generated code on the machine that ran it.")
    what_this_is_not: str
    overall: Group
    by_split: list[Group]
    by_topic: list[Group] = Field(description="A topic is the part of a family's name before its first dot.")
    by_family: list[Group]
    outcomes: list[RowOutcome]
    broken_rows: list[BrokenRow] = []
    rows_without_check: int = 0

    def summary(self) -> EvaluationSummary:
        """The few numbers that a model's manifest keeps."""
        model, system = self.overall.model, self.overall.system
        splits = {group.name: group.model.pass_at_1 for group in self.by_split if group.name}
        return EvaluationSummary(
            rows=self.overall.rows,
            samples=self.samples,
            temperature=self.temperature,
            model_pass_at_1=model.pass_at_1,
            system_pass_at_1=system.pass_at_1,
            model_pass_at_1_by_split=splits,
            parse_rate=model.parse_rate,
            exact_match=model.exact_match,
            retrieval_share=system.retrieval_share,
            unanswered_share=system.unanswered_share,
            memorised_share=self.overall.novelty.memorised_rows / max(1, self.overall.rows),
            seconds=self.seconds,
        )

    def failures(self) -> list[RowOutcome]:
        """The rows with at least one wrong answer by the model alone."""
        return [outcome for outcome in self.outcomes if outcome.model.passed < self.samples]
