"""The layout of the volume, and typed access to it. Every file is written whole (`tinygpt.durable`).

$TINYGPT_HOME
  datasets/<dataset_id>/   rows.jsonl, card.json        id = content hash; written once, never changed
  runs/<run_id>/           request.json, events.jsonl, last.pt, best.pt, training_rows.jsonl, manifest.json
  models/current.json      the run whose model is served
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tinygpt.contracts.datasets import DatasetCard
from tinygpt.contracts.errors import NotFound
from tinygpt.contracts.models import BEST_CHECKPOINT, CurrentModel, Manifest
from tinygpt.durable import write_whole

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
AnyModel = TypeVar("AnyModel", bound=BaseModel)


class Volume:
    """Typed access to the shared folder. Names from outside are checked before they become paths."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def datasets(self) -> Path:
        return self.home / "datasets"

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    @property
    def current_path(self) -> Path:
        return self.home / "models" / "current.json"

    def dataset(self, dataset_id: str) -> Path:
        """The folder of a dataset. Raises `NotFound` for a name that can't be one."""
        return self.datasets / _checked(dataset_id, "dataset", "POST /datasets returns the id of each")

    def run(self, run_id: str) -> Path:
        """The folder of a run. Raises `NotFound` for a name that can't be one."""
        return self.runs / _checked(run_id, "run", "GET /train lists them")

    def card(self, dataset_id: str) -> DatasetCard:
        card = _read(DatasetCard, self.dataset(dataset_id) / "card.json")
        if card is None:
            raise NotFound(
                f"There is no dataset {dataset_id!r}: upload one with POST /datasets, or use 'bundled'.",
                param="dataset",
            )
        return card

    def manifest(self, run_id: str) -> Manifest:
        manifest = _read(Manifest, self.run(run_id) / "manifest.json")
        if manifest is None:
            raise NotFound(f"There is no model {run_id!r}: GET /models lists those that finished training.")
        return manifest

    def manifests(self) -> Iterator[Manifest]:
        """The manifest of every finished run. A folder without a valid one is skipped."""
        for path in self.runs.glob("*/manifest.json"):
            manifest = _read(Manifest, path)
            if manifest is not None:
                yield manifest

    def write_manifest(self, manifest: Manifest) -> None:
        write_whole(self.run(manifest.run_id) / "manifest.json", manifest.model_dump_json(indent=2))

    def current(self) -> CurrentModel | None:
        """The run whose model is served; None before the first promotion."""
        return _read(CurrentModel, self.current_path)

    def promote(self, run_id: str) -> CurrentModel:
        """Serve a finished run's best checkpoint. Promoting it again only changes the time.

        Raises `NotFound`, `StorageFull`.
        """
        manifest = self.manifest(run_id)
        before = self.current()
        previous = before and (before.previous if before.run_id == run_id else before.run_id)
        current = CurrentModel(
            run_id=run_id,
            sha256=manifest.files[BEST_CHECKPOINT].sha256,
            promoted_at=time.time(),
            previous=previous,
        )
        write_whole(self.current_path, current.model_dump_json(indent=2))
        return current


def _checked(name: str, kind: str, where: str) -> str:
    if not _SAFE_NAME.fullmatch(name):
        raise NotFound(f"There is no {kind} {name[:80]!r}: {where}.")
    return name


def _read(kind: type[AnyModel], path: Path) -> AnyModel | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
