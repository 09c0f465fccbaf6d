"""TensorBoard: event files in the run's folder."""

import time
from collections.abc import Mapping
from typing import Any

from tinygpt.training.callbacks import StopReason
from tinygpt.training.tracking.tracker import VALIDATION_LOSS, Tracker, hyperparameters

_FLUSH_EVERY_SECONDS = 10.0


class TensorBoardTracker(Tracker):
    """One event file for each time that the run is started or resumed.

    Written in the run's thread, through the file's own buffer. tensorboardX's `SummaryWriter` would use a thread and a
    bounded queue: if the disk is full, the thread dies and the queue blocks the run for good.
    """

    def _open(self, step: int) -> None:
        # Imported here because tensorboardX imports torch, which the trainer's parent process does without.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.summary import hparams

        # The name has the second and the host. A run resumed in the same second must not overwrite the file.
        self._writer = EventsWriter(str(self._folder / "events"), filename_suffix=f".{time.time_ns()}")
        # Makes TensorBoard hide later points, those of a process that died before its next checkpoint.
        self._write(step + 1, session_log=SessionLog(status=SessionLog.START))
        for summary in hparams(hyperparameters(self._config), {VALIDATION_LOSS: None}):
            self._write(step, summary=summary)
        self._flush()

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step, summary=Summary(value=points))
        if time.monotonic() - self._flushed_at >= _FLUSH_EVERY_SECONDS:
            self._flush()

    def _finish(self, _reason: StopReason | None) -> None:
        self._writer.close()

    def _write(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, **content))

    def _flush(self) -> None:
        self._writer.flush()
        self._flushed_at = time.monotonic()
