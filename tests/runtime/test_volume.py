"""What lies on the volume: names from outside, broken files, promotion."""

import time
from pathlib import Path

import pytest

from tinygpt.contracts.errors import NotFound
from tinygpt.contracts.models import BEST_CHECKPOINT, FileEntry, Manifest
from tinygpt.contracts.runs import RunMetrics
from tinygpt.runtime.volume import Volume


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path / "home")


def finished(volume: Volume, run_id: str) -> Manifest:
    manifest = Manifest(
        run_id=run_id,
        dataset_id="d-1",
        created_at=time.time(),
        files={BEST_CHECKPOINT: FileEntry(sha256=f"hash of {run_id}", size_bytes=1)},
        metrics=RunMetrics(
            steps=1,
            seconds=1,
            validation_loss=1,
            bits_per_character=1,
            parameters=1,
            training_rows=1,
            validation_rows=1,
            stopped_by="max_steps",
        ),
        hyperparameters={},
    )
    volume.write_manifest(manifest)
    return manifest


OUTSIDE = [
    "../x",
    "..",
    ".",
    "",
    "/etc",
    "a/b",
    "a\\b",
    ".hidden",
    "-rf",
    "x" * 65,
    "a\n",
    "a\x00b",
    "é",
    "%2e%2e",
    "C:",
]


@pytest.mark.parametrize("name", OUTSIDE, ids=ascii)
def test_a_name_that_could_leave_its_folder_is_not_found(volume: Volume, name: str) -> None:
    for ask in (volume.dataset, volume.run, volume.card, volume.manifest, volume.promote):
        with pytest.raises(NotFound):
            ask(name)


def test_an_empty_volume_has_no_models_and_serves_none(volume: Volume) -> None:
    assert list(volume.manifests()) == []
    assert volume.current() is None
    with pytest.raises(NotFound):
        volume.promote("r-1")


def test_a_manifest_is_read_as_it_was_written(volume: Volume) -> None:
    written = finished(volume, "r-1")
    assert volume.manifest("r-1") == written


@pytest.mark.parametrize("content", [b"", b"{", b'{"run_id": "r-1"}', b"\xff\xfe", b"null"])
def test_a_broken_manifest_is_passed_over(volume: Volume, content: bytes) -> None:
    whole = finished(volume, "r-whole")
    finished(volume, "r-broken")
    (volume.run("r-broken") / "manifest.json").write_bytes(content)
    assert list(volume.manifests()) == [whole]
    with pytest.raises(NotFound):
        volume.promote("r-broken")


def test_promotion_names_the_checkpoint_by_its_hash_and_the_model_before_it(volume: Volume) -> None:
    finished(volume, "r-1")
    finished(volume, "r-2")
    assert volume.promote("r-1").previous is None
    second = volume.promote("r-2")
    assert (second.run_id, second.sha256, second.previous) == ("r-2", "hash of r-2", "r-1")
    assert volume.current() == second


def test_promoting_the_served_model_again_keeps_the_one_before_it(volume: Volume) -> None:
    finished(volume, "r-1")
    finished(volume, "r-2")
    volume.promote("r-1")
    volume.promote("r-2")
    assert volume.promote("r-2").previous == "r-1"
