"""`tinygpt generate`: one prompt, one answer, from a checkpoint on disk."""

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import ValidationError

from tinygpt.commands.failures import EXIT_FAILED, EXIT_INTERRUPTED, one_sentence
from tinygpt.contracts.errors import InvalidCheckpoint, NoModel
from tinygpt.contracts.generation import MAX_STOP_STRINGS, Choice, GenerateDelta, GenerateRequest, GenerateResponse
from tinygpt.contracts.models import BEST_CHECKPOINT, TRAINING_ROWS
from tinygpt.data.rows import read_rows
from tinygpt.runtime.settings import Settings, load_settings
from tinygpt.runtime.volume import Volume

if TYPE_CHECKING:
    from tinygpt.inference.backend import Backend
    from tinygpt.inference.generator import CodeGenerator

_BACKEND: "Backend" = "torch"
"""PyTorch finishes one answer before the compiled decoder's kernels would be loaded."""


def generate(
    prompt: Annotated[str, typer.Argument(help="What the code should do, in your words. - reads standard input.")],
    model: Annotated[
        Path | None, typer.Option(help="A .pt file, or a folder with best.pt. The model now served if left out.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="The answer is cut here, or when the context is full.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 takes the most likely token every time.")] = 0.0,
    top_k: Annotated[int, typer.Option(help="Sample from this many most likely tokens; 0 from all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Sample from the smallest set with this probability.")] = 1.0,
    min_p: Annotated[float, typer.Option(help="Minimum probability relative to the most likely token.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="1 is none.")] = 1.0,
    repetition_window: Annotated[int, typer.Option(help="Recent output tokens that the penalty looks at.")] = 64,
    balanced: Annotated[bool, typer.Option("--balanced", help="Keep brackets and quotes balanced.")] = False,
    seed: Annotated[int | None, typer.Option(help="Same seed, same answer. A fresh one if left out.")] = None,
    n: Annotated[int, typer.Option(help="Number of answers, each with the next seed.")] = 1,
    stop: Annotated[
        list[str] | None, typer.Option(help=f"End before this text. May be given up to {MAX_STOP_STRINGS} times.")
    ] = None,
    logprobs: Annotated[int | None, typer.Option(help="With --json: show this many of the most likely tokens.")] = None,
    beams: Annotated[
        int | None, typer.Option(min=1, max=64, help="Beam search with this many beams, instead of sampling.")
    ] = None,
    post_process: Annotated[bool, typer.Option(help="Repair brackets and quotes.")] = True,
    fallback: Annotated[
        Literal["auto", "never"], typer.Option(help="auto: the nearest training row's code for an unusable answer.")
    ] = "auto",
    json: Annotated[bool, typer.Option("--json", help="The whole answer as JSON.")] = False,
) -> None:
    """Turn a prompt into Python code. Exits 1 if there is no answer.

    On a terminal the model's text is shown as it is generated, before it is checked. If it can't be used as it is, the
    answer follows below it.
    """
    with one_sentence():
        try:
            request = GenerateRequest(
                prompt=sys.stdin.read().strip() if prompt == "-" else prompt,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                min_p=min_p,
                repetition_penalty=repetition_penalty,
                repetition_window=repetition_window,
                balanced=balanced,
                seed=seed,
                n=n,
                stop=stop or [],
                logprobs=logprobs,
                post_process=post_process,
                fallback=fallback,
            )
        except ValidationError as error:
            problem = error.errors()[0]
            hint = "--" + str(problem["loc"][0]).replace("_", "-")
            raise typer.BadParameter(problem["msg"], param_hint=hint.replace("--prompt", "PROMPT")) from error
        if beams is not None and (temperature > 0 or n > 1 or stop):
            raise typer.BadParameter("beam search takes no --temperature, --n or --stop", param_hint="--beams")
        shown = sys.stdout.isatty() and not json and n == 1 and beams is None
        try:
            generator = _generator(model, slots=n)
            if beams is not None:
                answer = _search(generator, request, beams=beams)
            elif shown:
                answer = asyncio.run(_show(generator, request))
            else:
                answer = generator.generate(request)
        except KeyboardInterrupt:
            typer.echo("tinygpt: stopped.", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if json:
        typer.echo(answer.model_dump_json(indent=2))
    elif not shown:
        _print(answer.choices or [answer])
    if answer.note:
        typer.echo(f"tinygpt: {answer.note}", err=True)
    if all(choice.source == "none" for choice in answer.choices or [answer]):
        raise typer.Exit(EXIT_FAILED)


def _generator(model: Path | None, *, slots: int) -> "CodeGenerator":
    from tinygpt.inference.generator import CodeGenerator
    from tinygpt.inference.retrieval import RetrievalIndex
    from tinygpt.model.checkpoint import load_checkpoint

    path = _checkpoint_path(model)
    checkpoint = load_checkpoint(path)
    rows = path.parent / TRAINING_ROWS
    index = RetrievalIndex(read_rows(rows)) if rows.exists() else None
    return CodeGenerator(
        checkpoint.model, checkpoint.tokenizer, index, model_id=str(path), slots=slots, backend=_BACKEND
    )


def _search(generator: "CodeGenerator", request: GenerateRequest, *, beams: int) -> GenerateResponse:
    """The answer by beam search. `logprobs` and the options of sampling are ignored."""
    from tinygpt.inference.beam import beam_search
    from tinygpt.inference.request import encode_prompt
    from tinygpt.inference.sequence import Finished, SequenceOutput

    model, tokenizer = generator.model, generator.tokenizer
    prompt_ids = encode_prompt(request.prompt, tokenizer, model.config.context_length)
    started = time.perf_counter()
    best, *_ = beam_search(model, prompt_ids, beams=beams, max_new_tokens=request.max_new_tokens)
    finished = Finished(
        finish_reason=best.finish_reason,
        prompt_tokens=len(prompt_ids),
        completion_tokens=len(best.ids),
        queue_seconds=0.0,
        prefill_seconds=0.0,
        decode_seconds=time.perf_counter() - started,
        first_token_seconds=None,
    )
    return generator.respond(request, [SequenceOutput(0, tokenizer.decode(best.ids), end=finished)])


async def _show(generator: "CodeGenerator", request: GenerateRequest) -> GenerateResponse:
    """Print the model's text as it comes, and below it the answer if that is different."""
    shown = ""
    async for part in generator.stream(request):
        if isinstance(part, GenerateDelta):
            typer.echo(part.text, nl=False)
            shown += part.text
        else:
            answer = part
    if answer.code.startswith(shown):
        typer.echo(answer.code.removeprefix(shown))
    else:
        typer.echo()
        if answer.code and answer.code != shown.strip("\n").rstrip():
            typer.echo("tinygpt: that can't be used as it is. The answer instead:", err=True)
            typer.echo(answer.code)
    return answer


def _print(choices: list[Choice]) -> None:
    """Print every answer, with a number above each if there are several."""
    for number, choice in enumerate(choices, start=1):
        if len(choices) > 1:
            typer.echo(f"# {number} of {len(choices)}")
        if choice.code:
            typer.echo(choice.code)


def _checkpoint_path(model: Path | None) -> Path:
    """The `.pt` file to load. Raises `InvalidCheckpoint` or `NoModel`."""
    if model is not None:
        path = model / BEST_CHECKPOINT if model.is_dir() else model
        if not path.exists():
            raise InvalidCheckpoint(f"{path} does not exist: `tinygpt train --out {model}` makes it.")
        return path
    volume = Volume(load_settings(Settings).home)
    current = volume.current()
    if current is None:
        raise NoModel(f"No model is served from {volume.home}: name one with --model, or run `tinygpt train` first.")
    return volume.run(current.run_id) / BEST_CHECKPOINT
