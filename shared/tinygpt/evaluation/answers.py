"""Asking a generator many prompts, by the model alone and by the whole system, on several cores."""

import multiprocessing
import signal
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from tinygpt.contracts.errors import InvalidRequest
from tinygpt.contracts.generation import GenerateRequest, Source
from tinygpt.data.rows import Row
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

_ROWS_A_TASK = 8
_ROWS_WORTH_A_PROCESS = 64


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
    """The samples for one row."""

    model: list[Answer]
    system: list[Answer]


def answer_all(
    generator: CodeGenerator,
    prompts: Sequence[str],
    training_rows: Sequence[Row],
    sampling: Sampling,
    *,
    workers: int = 1,
    on_done: Callable[[int], None] = lambda _done: None,
) -> list[BothAnswers]:
    """Answers in the order of the prompts, the same for any number of workers. `on_done` is told how many are done.

    More than one worker starts fresh processes: a script that calls this must be importable without running it.
    """
    workers = min(workers, max(1, len(prompts) // _ROWS_WORTH_A_PROCESS))
    on_done(0)
    numbered = list(enumerate(prompts))
    if workers == 1:
        answers = []
        for position, prompt in numbered:
            answers.append(_answer(generator, position, prompt, sampling))
            on_done(len(answers))
        return answers
    tasks = [numbered[start : start + _ROWS_A_TASK] for start in range(0, len(numbered), _ROWS_A_TASK)]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "model.pt"
        save_checkpoint(Checkpoint(generator.model, generator.tokenizer), checkpoint)
        floor = None if generator.retrieval is None else generator.similarity_floor
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        pool = ProcessPoolExecutor(
            workers,
            context,
            initializer=_start_worker,
            initargs=(checkpoint, list(training_rows), floor, generator.model_id, stop),
        )
        try:
            return _gather([pool.submit(_answer_task, task, sampling) for task in tasks], on_done)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _gather(futures: list["Future[list[BothAnswers]]"], on_done: Callable[[int], None]) -> list[BothAnswers]:
    pending = set(futures)
    done = 0
    while pending:
        finished, pending = wait(pending, return_when=FIRST_COMPLETED)
        done += sum(len(future.result()) for future in finished)
        on_done(done)
    return [both for future in futures for both in future.result()]


def _never() -> bool:
    return False


def _answer(
    generator: CodeGenerator,
    position: int,
    prompt: str,
    sampling: Sampling,
    should_stop: Callable[[], bool] = _never,
) -> BothAnswers:
    alone, whole = [], []
    for sample in range(sampling.samples):
        request = GenerateRequest(
            prompt=prompt,
            temperature=sampling.temperature,
            max_new_tokens=sampling.max_new_tokens,
            seed=(sampling.seed * 1_000_003 + position) * 1_009 + sample,
        )
        bare = request.model_copy(update={"retrieval": False, "post_process": False})
        alone.append(_ask(generator, bare, should_stop))
        whole.append(_ask(generator, request, should_stop))
    return BothAnswers(alone, whole)


def _ask(generator: CodeGenerator, request: GenerateRequest, should_stop: Callable[[], bool]) -> Answer:
    try:
        response = generator.generate(request, should_stop)
    except InvalidRequest:  # a prompt that leaves no room in the context
        return Answer("", "none")
    return Answer(response.code, response.source)


_worker_state: list[tuple[CodeGenerator, Event]] = []
"""A worker process's own; empty in every other."""


def _start_worker(checkpoint: Path, training_rows: list[Row], floor: float | None, model_id: str, stop: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and stops handing out work
    torch.set_num_threads(1)
    loaded = load_checkpoint(checkpoint)
    if floor is None:
        generator = CodeGenerator(loaded.model, loaded.tokenizer, model_id=model_id)
    else:
        index = RetrievalIndex(training_rows)
        generator = CodeGenerator(loaded.model, loaded.tokenizer, index, model_id=model_id, similarity_floor=floor)
    _worker_state.append((generator, stop))


def _answer_task(task: list[tuple[int, str]], sampling: Sampling) -> list[BothAnswers]:
    ((generator, stop),) = _worker_state
    return [_answer(generator, position, prompt, sampling, stop.is_set) for position, prompt in task]
