"""`tinygpt generate`: one prompt, one answer, from a checkpoint on the disk."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from tinygpt.commands.failures import EXIT_FAILED, one_sentence
from tinygpt.contracts.errors import InvalidCheckpoint, NoModel
from tinygpt.contracts.generation import GenerateRequest
from tinygpt.contracts.models import BEST_CHECKPOINT, TRAINING_ROWS
from tinygpt.data.rows import read_rows
from tinygpt.runtime.settings import Settings, load_settings
from tinygpt.runtime.volume import Volume


def generate(
    prompt: Annotated[str, typer.Argument(help="What the code should do, in your words. - reads standard input.")],
    model: Annotated[
        Path | None, typer.Option(help="A .pt file, or a folder with best.pt. The model now served if left out.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option()] = 256,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token every time.")] = 0.0,
    top_p: Annotated[float, typer.Option()] = 1.0,
    repetition_penalty: Annotated[float, typer.Option(help="1 is none.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Same seed, same answer.")] = None,
    retrieval: Annotated[bool, typer.Option(help="Fall back to the nearest training row.")] = True,
    post_process: Annotated[bool, typer.Option(help="Repair brackets and quotes.")] = True,
    json: Annotated[bool, typer.Option("--json", help="The whole answer as JSON.")] = False,
) -> None:
    """Turn a prompt into Python code. Exits 1 where there is no answer."""
    with one_sentence():
        try:
            request = GenerateRequest(
                prompt=sys.stdin.read().strip() if prompt == "-" else prompt,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_p=top_p,
                repetition_penalty=repetition_penalty,
                seed=seed,
                retrieval=retrieval,
                post_process=post_process,
            )
        except ValidationError as error:
            problem = error.errors()[0]
            hint = "--" + str(problem["loc"][0]).replace("_", "-")
            raise typer.BadParameter(problem["msg"], param_hint=hint.replace("--prompt", "PROMPT")) from error
        from tinygpt.inference.generator import CodeGenerator
        from tinygpt.inference.retrieval import RetrievalIndex
        from tinygpt.model.checkpoint import load_checkpoint

        path = _checkpoint_path(model)
        checkpoint = load_checkpoint(path)
        rows = path.parent / TRAINING_ROWS
        index = RetrievalIndex(read_rows(rows)) if rows.exists() else None
        generator = CodeGenerator(checkpoint.model, checkpoint.tokenizer, index, model_id=str(path))
        answer = generator.generate(request)
    if json:
        typer.echo(answer.model_dump_json(indent=2))
    elif answer.code:
        typer.echo(answer.code)
    if answer.note:
        typer.echo(f"tinygpt: {answer.note}", err=True)
    if answer.source == "none":
        raise typer.Exit(EXIT_FAILED)


def _checkpoint_path(model: Path | None) -> Path:
    """The `.pt` that is meant. Raises `InvalidCheckpoint`, `NoModel`."""
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
