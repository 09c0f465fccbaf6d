"""A small run in a process of its own: started alone or by torchrun, it can be killed.

python -m tests.training.run_in_process <variant> <folder> [kill-at <step> <milliseconds> | fail-at <rank> <step>]
"""

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

from tinygpt.contracts.runs import Progress
from tinygpt.data.rows import Row
from tinygpt.model.config import ModelConfig
from tinygpt.training.callbacks import Callback
from tinygpt.training.config import PRESETS, TrainConfig
from tinygpt.training.distributed import World, joined
from tinygpt.training.run import train

ROWS = [Row(f"add {i} to x", f"x + {i}") for i in range(60)]
_PLAIN = TrainConfig(
    model=ModelConfig(context_length=32, layers=1, heads=2, width=16, dropout=0.1),
    optimizer="adamw",
    batch_size=8,
    learning_rate=1e-2,
    max_steps=30,
    max_seconds=None,
    evaluations=6,
    patience=6,
    precision="fp32",
    threads=1,
)
_MODERN = replace(
    _PLAIN,
    model=replace(
        _PLAIN.model, positions="rotary", qk_norm=True, convolution=3, ngrams=(2, 3), ngram_rows=512, dropout=0.0
    ),
    optimizer="muon",
)
_AS_THE_PRESETS = replace(
    PRESETS["default"],
    model=replace(PRESETS["default"].model, context_length=32, width=64, heads=2, ngram_rows=512),
    batch_size=8,
    max_steps=30,
    max_seconds=None,
    evaluations=6,
    patience=6,
    threads=2,
)
VARIANTS = {
    "plain": _PLAIN,
    "modern in bf16": replace(_MODERN, model=replace(_MODERN.model, dropout=0.1), precision="bf16", max_steps=30),
    "as the presets in bf16": replace(_AS_THE_PRESETS, precision="bf16"),
    "as the presets in fp32": replace(_AS_THE_PRESETS, precision="fp32"),
    # Two processes have different shares of these steps. AdamW, because Muon in bf16 and Adagrad's first steps, which
    # are signs, make small differences large.
    "without dropout": replace(_PLAIN, model=replace(_MODERN.model, ngrams=()), batch_size=53, max_steps=20),
    "with a table": replace(_MODERN, batch_size=53, max_steps=20),
    # The second process has no rows.
    "a row at a time": replace(_PLAIN, model=replace(_MODERN.model, ngrams=()), batch_size=1, max_steps=20),
    "a row at a time, with a table": replace(_MODERN, batch_size=1, max_steps=20),
}


class Curve(Callback):
    """Writes the training loss (recent mean) of every step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.losses: list[float | None] = []

    def on_step(self, progress: Progress) -> None:
        self.losses.append(progress.train_loss)
        self.path.write_text(json.dumps(self.losses))


class KillAt(Callback):
    """SIGKILL, some milliseconds after a step."""

    def __init__(self, step: int, milliseconds: float) -> None:
        self.step = step
        self.seconds = milliseconds / 1000

    def on_step(self, progress: Progress) -> None:
        if progress.step == self.step:
            if self.seconds == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Timer(self.seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


class FailingWorld(World):
    """One process of it dies after some steps."""

    steps = 0
    fails_at: tuple[int, int] = (0, 0)

    def sum_gradients(self, model: object) -> None:
        type(self).steps += 1
        if (self.rank, self.steps) == self.fails_at:
            os.kill(os.getpid(), signal.SIGKILL)
        super().sum_gradients(model)  # type: ignore[arg-type]


def main(variant: str, folder: Path, *what: str) -> None:
    callbacks: list[Callback] = [Curve(folder / "curve.json")]
    match what:
        case ("kill-at", step, milliseconds):
            callbacks.append(KillAt(int(step), float(milliseconds)))
    with joined() as world:
        match what:
            case ("fail-at", rank, step):
                FailingWorld.fails_at = (int(rank), int(step))
                world = FailingWorld(world.rank, world.size, world.local_rank)
        train(VARIANTS[variant], ROWS, callbacks, folder=folder, world=world)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
