"""Asking a generator many prompts at once: each text that the model writes gives its own answer and the system's."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from pydantic import ValidationError

from tinygpt.contracts.errors import InvalidRequest, TinyGPTError
from tinygpt.contracts.generation import GenerateRequest, Source
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.sequence import SequenceOutput

_ASKED_A_SLOT = 2
"""Requests under way for each slot of the decoder, so that none is empty while answers are looked at."""
_SECONDS_BETWEEN_REPORTS = 1.0


@dataclass(frozen=True)
class Sampling:
    """How every prompt is answered. The seed of an answer is made from `seed`, the row's position and the sample's."""

    samples: int = 1
    temperature: float = 0.0
    seed: int = 0
    max_new_tokens: int = 256


@dataclass(frozen=True)
class Answer:
    """One answer; "" and `none` where there is none."""

    code: str
    source: Source


@dataclass(frozen=True)
class BothAnswers:
    """The samples for one row: the model's own texts, and what the whole system made of them."""

    model: list[Answer]
    system: list[Answer]


def answer_all(
    generator: CodeGenerator,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    on_done: Callable[[int], None] = lambda _done: None,
) -> list[BothAnswers]:
    """Answers in the order of the prompts, as many at once as the generator has slots.

    `on_done` is told how many prompts are answered, every second even where none came: the first has to wait until the
    decoder is compiled. What it raises ends those under way.
    """
    no_answer = Answer("", "none")
    answers = [BothAnswers([no_answer] * sampling.samples, [no_answer] * sampling.samples) for _ in prompts]
    total = len(prompts) * sampling.samples
    to_ask = iter(range(total))
    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    asked: dict[int, tuple[int, GenerateRequest]] = {}
    on_done(0)
    done = 0
    try:
        while done < total:
            while len(asked) < _ASKED_A_SLOT * generator.engine.slots and (number := next(to_ask, None)) is not None:
                try:
                    request = _request(prompts, sampling, number)
                    (sequence,) = generator.sequences(request)
                except (InvalidRequest, ValidationError):  # a prompt that leaves no room, or longer than one may be
                    done += 1
                else:
                    (sequence_id,) = generator.engine.submit([sequence], outputs.put)
                    asked[sequence_id] = (number, request)
            with contextlib.suppress(Empty):
                output = outputs.get(timeout=_SECONDS_BETWEEN_REPORTS if asked else 0)
                number, request = asked.pop(output.id)
                position, sample = divmod(number, sampling.samples)
                answers[position].model[sample], answers[position].system[sample] = _both(generator, request, output)
                done += 1
            on_done(done // sampling.samples)
    finally:
        generator.engine.cancel(asked)
    return answers


def _request(prompts: Sequence[str], sampling: Sampling, number: int) -> GenerateRequest:
    """The request of this number: all samples of the first prompt come first, then those of the next."""
    position, sample = divmod(number, sampling.samples)
    return GenerateRequest(
        prompt=prompts[position],
        temperature=sampling.temperature,
        max_new_tokens=sampling.max_new_tokens,
        seed=(sampling.seed * 1_000_003 + position) * 1_009 + sample,
    )


def _both(generator: CodeGenerator, request: GenerateRequest, output: SequenceOutput) -> tuple[Answer, Answer]:
    """The model's own answer and the system's. Raises what ended the request."""
    if isinstance(output.end, TinyGPTError):
        raise output.end
    response = generator.respond(request, [output])
    return Answer(response.raw, "model"), Answer(response.code, response.source)
