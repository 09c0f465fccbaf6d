"""`python -m tinygpt.classic data/curated.jsonl`: train the tutorial's GPT in this terminal, then ask it."""

import argparse
import contextlib
import json
import random
import sys
import time
from collections import deque
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tinygpt.classic.generate import generate
from tinygpt.classic.gpt import GPT
from tinygpt.classic.train import batches, make_example, make_optimizer, train, validation_loss
from tinygpt.data.tokenizer import CharacterTokenizer

VALIDATION_SHARE = 0.1
VALIDATIONS = 10  # in a run, evenly spread over its time
SHOW_ANSWERS_AT = (0.05, 0.2, 0.5)  # shares of the time; before training and after it too

Row = tuple[str, str]  # a prompt and its code
console = Console(highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    options = parse_options()
    torch.manual_seed(options.seed)
    rows = read_rows(options.data)
    random.Random(options.seed).shuffle(rows)
    tokenizer = CharacterTokenizer.from_corpus(text for row in rows for text in row)
    model = GPT(tokenizer.vocab_size)

    fitting = [row for row in rows if len(make_example(tokenizer, *row)[0]) <= model.context_length]
    held_out = max(1, round(VALIDATION_SHARE * len(fitting)))
    validation, training = fitting[:held_out], fitting[held_out:]
    if not training:
        sys.exit(f"{options.data}: give at least 2 rows that fit in {model.context_length} tokens.")
    console.print(f"A GPT with {sum(p.numel() for p in model.parameters()):,} weights learns for {options.seconds:g} s")
    console.print(f"from {len(training):,} rows. {held_out:,} more are held out: it is only tested with them.")
    if len(fitting) < len(rows):
        console.print(f"Left out, as longer than {model.context_length} tokens: {len(rows) - len(fitting):,} rows.")
    console.print("Ctrl-C ends the training early.")

    try:
        train_in_terminal(model, tokenizer, training, validation, options.seconds, options.seed)
    except KeyboardInterrupt:
        console.print("Training ended early.")
    with contextlib.suppress(KeyboardInterrupt, EOFError):
        answer_prompts(model, tokenizer)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tinygpt.classic",
        description="Train the tutorial's GPT on rows of prompt and code, then answer prompts typed here. "
        "In two minutes it learns what Python looks like, and few right answers. What it has learned is gone "
        "when the program ends. `tinygpt train` trains a better network and keeps it.",
        epilog="Example: python -m tinygpt.classic data/curated.jsonl --seconds 60",
    )
    parser.add_argument("data", type=Path, help='JSONL: {"prompt": "is n even", "code": "n %% 2 == 0"} in every line')
    parser.add_argument("--seconds", type=positive, default=120, help="how long to train (default: 120)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another network (default: 0)")
    return parser.parse_args()


def positive(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise ValueError
    return float(text)


def read_rows(path: Path) -> list[Row]:
    rows: list[Row] = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                    rows.append((str(row["prompt"]), str(row["code"])))
                except (ValueError, TypeError, KeyError):
                    sys.exit(f'{path}, line {number}: expected {{"prompt": "...", "code": "..."}}.')
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{path}: {error}.")
    return rows


def train_in_terminal(
    model: GPT, tokenizer: CharacterTokenizer, training: list[Row], validation: list[Row], seconds: float, seed: int
) -> None:
    """Train with a progress bar. Now and then, show how the network answers three prompts, from noise towards code."""
    learned = [make_example(tokenizer, *row) for row in training]
    held_out = [make_example(tokenizer, *row) for row in validation]
    shown = [(training[0], "learned"), *((row, "held out") for row in validation[:2])]

    def show_answers(heading: str) -> None:
        console.print(f"\n{heading}")
        for (prompt, _), kind in shown:
            console.print(f"  {prompt} ({kind}): {generate(model, tokenizer, prompt, max_new_tokens=60)}")

    validated = validation_loss(model, held_out)
    state = f"validation loss {validated:.3f}"
    show_answers(f"Before training: {state}")
    optimizer = make_optimizer(model)
    started_at = time.monotonic()

    def time_used(_step: int = 0) -> float:
        return min(1.0, (time.monotonic() - started_at) / seconds)

    losses: deque[float] = deque(maxlen=50)
    validations, shows = 0, 0
    columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[left]:.0f} s left"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0, left=seconds)
        for step, loss in enumerate(train(model, optimizer, batches(learned, seed), time_used), start=1):
            losses.append(loss)
            used = time_used()
            if int(used * VALIDATIONS) > validations:
                validations = int(used * VALIDATIONS)
                validated = validation_loss(model, held_out)
            state = f"step {step:,}, loss {sum(losses) / len(losses):.3f}, validation loss {validated:.3f}"
            bar.update(task, description=state, completed=used, left=seconds * (1 - used))
            if shows < sum(used >= share for share in SHOW_ANSWERS_AT):
                shows = sum(used >= share for share in SHOW_ANSWERS_AT)
                show_answers(f"After {used * seconds:.0f} s: {state}")
    show_answers(f"After {seconds:g} s: {state}")


def answer_prompts(model: GPT, tokenizer: CharacterTokenizer) -> None:
    """Answer line by line, from a terminal or a pipe. Raises `EOFError` or `KeyboardInterrupt` when the person ends."""
    if sys.stdin.isatty():
        console.print("\nNow ask for code. An empty line or Ctrl-D ends.")
        console.print("Two minutes teach it what Python looks like. Right answers are luck: `tinygpt train` gets more.")
    while prompt := input("\n> " if sys.stdin.isatty() else "").strip():
        if len(tokenizer.encode_prompt(prompt)) >= model.context_length:
            console.print(f"That leaves no room for an answer: the context has {model.context_length} tokens.")
        else:
            console.print(generate(model, tokenizer, prompt))


if __name__ == "__main__":
    main()
