"""What the trackers share whose libraries are slow to import and may wait for a service."""

import contextvars
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from tinygpt.contracts.runs import Progress
from tinygpt.durable import write_whole
from tinygpt.training.config import TrainConfig
from tinygpt.training.tracking.extras import TrackerName, check_installed
from tinygpt.training.tracking.tracker import Tracker, log

_CLOSE_SECONDS = 15.0
"""Half of a lease, by default: a service that does not answer must not cost the run."""


class BackgroundTracker(Tracker):
    """Calls its library in a thread of its own, in order, so that the run never waits and can renew its lease."""

    name: TrackerName

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        check_installed([self.name])
        super().__init__(folder, config)
        self._actions: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        context = contextvars.copy_context()  # warnings carry the run's id
        self._thread = threading.Thread(target=context.run, args=(self._work,), name=self.name, daemon=True)

    def on_start(self, progress: Progress) -> None:
        self._thread.start()
        super().on_start(progress)

    def close(self) -> None:
        super().close()
        if self._started:
            self._actions.put(None)
            self._thread.join(_CLOSE_SECONDS)
            if self._thread.is_alive():
                log.warning("tracking is not done; left behind", tracker=type(self).__name__, seconds=_CLOSE_SECONDS)

    def _attempt(self, action: Callable[[], None]) -> None:
        self._actions.put(action)

    def _work(self) -> None:
        while (action := self._actions.get()) is not None:
            super()._attempt(action)

    def _saved_id(self, step: int) -> str | None:
        """The library's id of the run that is resumed. None: a new run."""
        path = self._id_path
        return path.read_text(encoding="utf-8") if step > 0 and path.exists() else None

    def _save_id(self, run_id: str) -> None:
        write_whole(self._id_path, run_id)

    @property
    def _id_path(self) -> Path:
        return self._folder / f"{self.name}_run_id"
