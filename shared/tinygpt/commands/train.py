"""`tinygpt train`: a run in this terminal, with a progress bar. Ctrl-C saves, and the same command resumes."""

import contextlib
import signal
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from tinygpt.commands.failures import EXIT_INTERRUPTED, CtrlC, one_sentence
from tinygpt.contracts.runs import Progress, TrainRequest
from tinygpt.data.bundled import bundled_rows
from tinygpt.data.tokenizer import TokenizerKind
from tinygpt.training.tracking import TrackerName, trackers


def train(
    file: Annotated[
        Path | None,
        typer.Argument(help="Rows as JSONL, CSV or SQLite. The bundled data if left out."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for best.pt and last.pt.")] = Path("var/cli"),
    preset: Annotated[
        Literal["quick-start", "default", "classic"],
        typer.Option(help="classic: the tutorial's network and AdamW alone, for comparison."),
    ] = "quick-start",
    model: Annotated[Literal["tiny", "small"] | None, typer.Option(help="Size, instead of the preset's.")] = None,
    tokenizer: Annotated[TokenizerKind, typer.Option(help="What a token is.")] = "characters",
    context_length: Annotated[int | None, typer.Option(help="Tokens, prompt and code together.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows in a step, on average.")] = None,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    dropout: Annotated[float | None, typer.Option()] = None,
    max_steps: Annotated[int | None, typer.Option()] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Time budget.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    track: Annotated[
        list[TrackerName] | None, typer.Option(help="A tracker besides TensorBoard. May be given twice.")
    ] = None,
) -> None:
    """Train a model on prompt/code rows. The same command resumes an interrupted run.

    Several processes, each with a part of every batch: torchrun --nproc-per-node 2 -m tinygpt train ...
    """
    with one_sentence():
        source = file or bundled_rows("bundled")
        try:
            request = TrainRequest(
                preset=preset,
                model=model,
                context_length=context_length,
                batch_size=batch_size,
                learning_rate=learning_rate,
                dropout=dropout,
                max_steps=max_steps,
                max_seconds=max_seconds,
                seed=seed,
            )
        except ValidationError as error:
            problem = error.errors()[0]
            option = "--" + str(problem["loc"][0]).replace("_", "-")
            raise typer.BadParameter(f"{problem['msg']}, not {problem['input']!r}", param_hint=option) from error
        from tinygpt.training.callbacks import Callback, StopReason
        from tinygpt.training.config import config_from_request
        from tinygpt.training.distributed import joined
        from tinygpt.training.run import token_store_for
        from tinygpt.training.run import train as train_model

        class OnTerminal(Callback):
            """Draws a bar on a terminal, or prints a line per evaluation. Ctrl-C asks the run to stop."""

            def on_step(self, progress: Progress) -> None:
                done = progress.elapsed_seconds
                bar.update(task, completed=done, total=done + (progress.seconds_left or 0), what=_described(progress))

            def on_evaluation(self, progress: Progress) -> None:
                if not console.is_terminal:
                    console.print(f"{_described(progress)}, {progress.seconds_left or 0:.0f} s left")

            def poll(self) -> bool:
                return ctrl_c.noted

        config = replace(config_from_request(request), tokenizer=tokenizer)
        console = Console(highlight=False, soft_wrap=True)
        ctrl_c = CtrlC(lambda: console.print("Saving; Ctrl-C again to leave without saving."))
        columns = (TextColumn("{task.fields[what]}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with (
            joined() as world,
            trackers(out, config, track or ()) as tracking,
            ProgressBar(*columns, console=console, disable=not (console.is_terminal and world.is_first)) as bar,
        ):
            if not world.is_first:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process saves, and tells the others to stop
            task = bar.add_task("", what="starting", total=None)
            with world.first_goes_first():
                store = token_store_for(config, source, out / "tokens")
            if world.is_first and (store.rows_cut or store.rows_left_out):
                console.print(
                    f"The context of {store.context_length} tokens cuts {store.rows_cut:,} training rows and leaves "
                    f"no room for the code of {store.rows_left_out:,}. Train with a larger --context-length."
                )
            callbacks = [OnTerminal(), *tracking] if world.is_first else []
            with ctrl_c if world.is_first else contextlib.nullcontext():
                result = train_model(config, store, callbacks, folder=out, world=world)
    if not world.is_first:
        return
    if result.metrics is None or result.reason is StopReason.STOP_REQUESTED:
        console.print(f"Stopped at step {result.steps:,}; the same command resumes from {out}/last.pt.")
        raise typer.Exit(EXIT_INTERRUPTED)
    console.print(
        f"{result.best}: validation loss {result.metrics.validation_loss:.4f} nats per character "
        f"({result.metrics.bits_per_character:.4f} bits) after {result.metrics.steps:,} steps "
        f"in {result.metrics.seconds:.0f} s.\nTry it: tinygpt generate --model {out} 'reverse the list nums'"
    )


def _described(progress: Progress) -> str:
    parts = [f"step {progress.step:,}"]
    if progress.train_loss is not None:
        parts.append(f"loss {progress.train_loss:.3f}")
    if progress.validation_loss is not None:
        parts.append(f"validation {progress.validation_loss:.3f}")
    return ", ".join(parts)
