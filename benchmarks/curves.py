"""How the validation loss falls while a side trains."""

import time
from dataclasses import dataclass

from benchmarks.training_sides import Side


@dataclass(frozen=True)
class Curve:
    """How the validation loss fell."""

    points: list[tuple[float, float]]
    """Optimiser seconds and nats per labelled token."""
    seconds: float
    """Optimiser seconds in all. The last step may end after the budget."""
    steps: int
    labelled_tokens: int
    cores_used: float
    """Processor time over optimiser time. Below the number of threads if other work ran on the machine."""

    @property
    def best(self) -> float:
        return min(loss for _, loss in self.points)

    @property
    def seconds_to_best(self) -> float:
        return min(self.points, key=lambda point: point[1])[0]

    @property
    def final(self) -> float:
        return self.points[-1][1]

    @property
    def tokens_per_second(self) -> float:
        """Labelled tokens."""
        return self.labelled_tokens / self.seconds


def follow(side: Side, seconds: float, evaluations: int) -> Curve:
    """Train for `seconds` of optimiser time, with evaluations at even distances and at the end."""
    spent = processor = 0.0
    steps = labelled = 0
    points = []
    due = interval = seconds / evaluations
    while spent < seconds:
        started, processor_started = time.perf_counter(), time.process_time()
        labelled += side.step(spent / seconds)
        spent += time.perf_counter() - started
        processor += time.process_time() - processor_started
        steps += 1
        if spent >= due or spent >= seconds:
            due = (spent // interval + 1) * interval
            points.append((round(spent, 3), round(side.validation_loss(), 5)))
    return Curve(points, round(spent, 3), steps, labelled, round(processor / spent, 2))
