"""What every test of the scheduler needs: sequences, their texts alone, a client, and decoders with a fault."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.inference.decoders import BACKENDS, TOKENIZER, decoder, precise_model
from tinygpt.contracts.errors import TinyGPTError
from tinygpt.data.tokenizer import CODE, PROMPT
from tinygpt.inference.backend import Backend
from tinygpt.inference.decoder import Decoder, SlotOutput, decode
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.scheduler import Scheduler
from tinygpt.inference.sequence import Finished, SequenceOutput, SequenceRequest

MODELS = {backend: precise_model(backend, ends=True) for backend in BACKENDS}


def sequence(
    *,
    prompt: int = 3,
    max_new_tokens: int = 8,
    seed: int = 0,
    stop: Sequence[str] = (),
    stream: bool = False,
    logprobs: int | None = None,
) -> SequenceRequest:
    """`prompt` is the length of the prompt's text in tokens. Seed 0 is greedy."""
    ids = [PROMPT, *(10 + (seed + i) % 80 for i in range(prompt)), CODE]
    sampling = SamplingParameters(temperature=1.0 if seed else 0.0, seed=seed)
    return SequenceRequest(ids, sampling, max_new_tokens, stop=stop, stream=stream, logprobs=logprobs)


def known_decoder(backend: Backend, *, slots: int = 1) -> Decoder:
    return decoder(backend, MODELS[backend], slots=slots)


@cache
def text_alone(backend: Backend, prompt: int, max_new_tokens: int, seed: int) -> str:
    request = sequence(prompt=prompt, max_new_tokens=max_new_tokens, seed=seed)
    ids = decode(known_decoder(backend), request.prompt_ids, request.sampling, max_new_tokens=max_new_tokens).ids
    return TOKENIZER.decode(ids)


@dataclass
class Client:
    """Turns a scheduler and keeps its outputs, by id."""

    scheduler: Scheduler
    outputs: dict[int, list[SequenceOutput]] = field(default_factory=dict)
    finished: dict[int, Finished] = field(default_factory=dict)
    errors: dict[int, TinyGPTError] = field(default_factory=dict)
    ends: Counter[int] = field(default_factory=Counter)
    turns: int = 0

    def turn(self) -> None:
        self.take(self.scheduler.turn())
        self.turns += 1

    def take(self, outputs: Sequence[SequenceOutput]) -> None:
        for output in outputs:
            assert output.id not in self.ends, "nothing comes after the end"
            self.outputs.setdefault(output.id, []).append(output)
            if output.end is not None:
                self.ends[output.id] += 1
            if isinstance(output.end, Finished):
                self.finished[output.id] = output.end
            elif output.end is not None:
                self.errors[output.id] = output.end

    def text(self, sequence_id: int) -> str:
        """All of its text so far."""
        return "".join(output.text for output in self.outputs.get(sequence_id, []))

    def turn_until_idle(self, max_turns: int = 10_000) -> None:
        while self.scheduler.busy:
            self.turn()
            assert self.turns < max_turns


def client(backend: Backend = "torch", *, slots: int = 2, **options: float) -> Client:
    """A client of a scheduler whose clock counts how often it was read."""
    clock = itertools.count()
    ticks: dict[str, Any] = {"clock": lambda: float(next(clock)), **options}
    return Client(Scheduler(known_decoder(backend, slots=slots), TOKENIZER, **ticks))


class PacedDecoder:
    """A decoder with a clock that a token takes a hundredth of a second of. `steps` has every call's argument."""

    def __init__(self, real: Decoder) -> None:
        self._real = real
        self.slots, self.context_length = real.slots, real.context_length
        self.prefill, self.begin, self.interrupt, self.free = real.prefill, real.begin, real.interrupt, real.free
        self.steps: list[int] = []
        self.now = 0.0

    def step(self, steps: int = 1) -> Sequence[SlotOutput]:
        self.steps.append(steps)
        outputs = self._real.step(steps)
        self.now += 0.01 * sum(len(output.ids) for output in outputs)
        return outputs


class FailingDecoder:
    """A decoder that raises at the third step."""

    def __init__(self, real: Decoder) -> None:
        self._real = real
        self.slots, self.context_length = real.slots, real.context_length
        self.prefill, self.begin, self.interrupt, self.free = real.prefill, real.begin, real.interrupt, real.free
        self._steps = 0

    def step(self, steps: int = 1) -> Sequence[SlotOutput]:
        self._steps += 1
        if self._steps == 3:
            raise RuntimeError("out of memory")
        return self._real.step(steps)
