"""Answers of a generator to many prompts at once: for each text that the model writes, the model's and the system's."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from pydantic import ValidationError

from tinygpt.contracts.errors import InvalidRequest, TinyGPTError
from tinygpt.contracts.generation import GenerateRequest, Source
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.sequence import SequenceOutput

_REQUESTS_PER_SLOT = 2
"""Requests under way for each slot of the decoder, so that no slot is empty while an answer is processed."""
_REPORT_SECONDS = 1.0


@dataclass(frozen=True)
class Sampling:
    """How every prompt is answered. `seed`, the row's position and the sample's number make the seed of an answer."""

    samples: int = 1
    temperature: float = 0.0
    seed: int = 0
    max_new_tokens: int = 256


@dataclass(frozen=True)
class Answer:
    """One answer. `code` is "" and `source` is `none` if there is no answer."""

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
    on_progress: Callable[[int], None] = lambda _done: None,
) -> list[BothAnswers]:
    """Answers in the order of the prompts. As many prompts are answered at once as the generator has slots.

    `on_progress` gets the number of prompts answered, at least every second even if that has not grown: the first
    answer may have to wait until the decoder is compiled. If it raises, the requests under way are cancelled.
    """
    no_answer = Answer("", "none")
    answers = [BothAnswers([no_answer] * sampling.samples, [no_answer] * sampling.samples) for _ in prompts]
    total = len(prompts) * sampling.samples
    numbers = iter(range(total))
    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    running: dict[int, tuple[int, GenerateRequest]] = {}
    max_running = _REQUESTS_PER_SLOT * generator.engine.slots
    on_progress(0)
    done = 0
    try:
        while done < total:
            while len(running) < max_running and (number := next(numbers, None)) is not None:
                try:
                    request = _request(prompts, sampling, number)
                    (sequence,) = generator.sequences(request)
                except (
                    InvalidRequest,
                    ValidationError,
                ):  # the prompt is longer than the context or than a request may be
                    done += 1
                else:
                    (sequence_id,) = generator.engine.submit([sequence], outputs.put)
                    running[sequence_id] = (number, request)
            with contextlib.suppress(Empty):
                output = outputs.get(timeout=_REPORT_SECONDS if running else 0)
                number, request = running.pop(output.id)
                position, sample = divmod(number, sampling.samples)
                answers[position].model[sample], answers[position].system[sample] = _both(generator, request, output)
                done += 1
            on_progress(done // sampling.samples)
    finally:
        generator.engine.cancel(running)
    return answers


def _request(prompts: Sequence[str], sampling: Sampling, number: int) -> GenerateRequest:
    """The request with this number. All samples of the first prompt come first, then those of the next."""
    position, sample = divmod(number, sampling.samples)
    return GenerateRequest(
        prompt=prompts[position],
        temperature=sampling.temperature,
        max_new_tokens=sampling.max_new_tokens,
        seed=(sampling.seed * 1_000_003 + position) * 1_009 + sample,
    )


def _both(generator: CodeGenerator, request: GenerateRequest, output: SequenceOutput) -> tuple[Answer, Answer]:
    """The model's own answer and the system's. Raises the error that ended the request, if one did."""
    if isinstance(output.end, TinyGPTError):
        raise output.end
    response = generator.respond(request, [output])
    return Answer(response.raw, "model"), Answer(response.code, response.source)
