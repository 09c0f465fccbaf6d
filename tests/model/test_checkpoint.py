"""Checkpoints: rebuilt from the file alone, and one clear error for every file that is not one."""

import io
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.full_disk import full_disk
from tinygpt.contracts.errors import InvalidCheckpoint, StorageFull
from tinygpt.data.byte_pair import BytePairTokenizer
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.durable import sha256_of
from tinygpt.model.checkpoint import FORMAT, VERSION, Checkpoint, load_checkpoint, save_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

TOKENIZER = CharacterTokenizer.from_corpus(["größe"])
CONFIG = ModelConfig(vocab_size=TOKENIZER.vocab_size, context_length=16, layers=2, heads=2, width=8)


def checkpoint(config: ModelConfig = CONFIG) -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(TinyGPT(config), TOKENIZER, {"step": 7, "best_validation_loss": 0.5}, {"steps": [1, 2]})


def content(**other: Any) -> dict[str, Any]:
    """What a good file holds, but for `other`."""
    model = checkpoint().model
    return {
        "format": FORMAT,
        "version": VERSION,
        "hyperparameters": asdict(CONFIG),
        "tokenizer": TOKENIZER.to_dict(),
        "state_dict": model.state_dict(),
        "training": {},
        "resume": {},
        **other,
    }


def refusal(path: Path, sha256: str | None = None) -> str:
    """The message that refuses `path`: one sentence that names the file."""
    with pytest.raises(InvalidCheckpoint) as caught:
        load_checkpoint(path, sha256=sha256)
    message = caught.value.message
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("tie_weights", [True, False])
def test_the_model_is_rebuilt_from_the_file_alone_with_identical_logits(tmp_path: Path, tie_weights: bool) -> None:
    saved = checkpoint(ModelConfig(**{**asdict(CONFIG), "tie_weights": tie_weights}))
    save_checkpoint(saved, tmp_path / "best.pt")

    loaded = load_checkpoint(tmp_path / "best.pt", sha256=sha256_of(tmp_path / "best.pt"))

    ids = torch.randint(0, CONFIG.vocab_size, (2, 16))
    assert torch.equal(loaded.model(ids), saved.model.eval()(ids))
    assert loaded.model.config == saved.model.config
    assert not loaded.model.training
    assert (loaded.model.head.weight is loaded.model.token_embedding.weight) is tie_weights
    assert loaded.tokenizer == TOKENIZER
    assert (loaded.training, loaded.resume) == (saved.training, saved.resume)


def test_a_byte_pair_tokenizer_is_rebuilt_from_the_file_alone(tmp_path: Path) -> None:
    tokenizer = BytePairTokenizer.from_corpus(["return größe"] * 2)
    model = TinyGPT(ModelConfig(**{**asdict(CONFIG), "vocab_size": tokenizer.vocab_size}))
    save_checkpoint(Checkpoint(model, tokenizer), tmp_path / "best.pt")

    assert load_checkpoint(tmp_path / "best.pt").tokenizer == tokenizer


def test_the_content_of_a_checkpoint_is_accepted_when_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "best.pt")

    assert load_checkpoint(tmp_path / "best.pt").model.config == CONFIG


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "best.pt")


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "best.pt"
    save_checkpoint(checkpoint(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])

    assert "truncated" in refusal(path)


@pytest.mark.parametrize("lost", [1, 2, 10, 100, 1000])
def test_a_file_that_lacks_its_last_bytes_is_refused(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "best.pt"
    save_checkpoint(checkpoint(), path)
    path.write_bytes(path.read_bytes()[:-lost])

    assert "truncated" in refusal(path)


@pytest.mark.parametrize(
    "garbage",
    [b"{}", b"\x00" * 100, b"PK\x03\x04" + b"\xff" * 100, b"0", b"a", b"\x80\x02r", b"\x80\x02]q", b"\x80\x02.", b"(."],
    ids=repr,
)
def test_bytes_that_are_no_checkpoint_are_refused(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "best.pt").write_bytes(garbage)

    refusal(tmp_path / "best.pt")


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best.pt").mkdir()

    refusal(tmp_path / "best.pt")


@pytest.mark.parametrize(
    "other", [{}, {"format": "another"}, [1, 2], torch.zeros(2)], ids=["empty", "named", "list", "tensor"]
)
def test_another_format_is_refused(tmp_path: Path, other: object) -> None:
    torch.save(other, tmp_path / "best.pt")

    assert "not a TinyGPT checkpoint" in refusal(tmp_path / "best.pt")


@pytest.mark.parametrize("version", [0, 1, None, "2"])
def test_another_version_is_refused(tmp_path: Path, version: object) -> None:
    torch.save(content(version=version), tmp_path / "best.pt")

    assert f"version {version!r}, not {VERSION}" in refusal(tmp_path / "best.pt")


def test_a_tokenizer_of_another_size_than_the_model_is_refused(tmp_path: Path) -> None:
    torch.save(content(tokenizer=CharacterTokenizer.from_corpus([]).to_dict()), tmp_path / "best.pt")

    assert "tokenizer has 102 tokens, its model 104" in refusal(tmp_path / "best.pt")


@pytest.mark.parametrize(
    "sizes", [{"width": 16}, {"layers": 3}, {"layers": 1}, {"context_length": 8}, {"width": 4.0}], ids=str
)
def test_weights_of_another_shape_than_the_hyperparameters_are_refused(tmp_path: Path, sizes: dict[str, Any]) -> None:
    torch.save(content(hyperparameters={**asdict(CONFIG), **sizes}), tmp_path / "best.pt")

    assert "weights that don't fit" in refusal(tmp_path / "best.pt")


@pytest.mark.parametrize(
    "part",
    [
        {"hyperparameters": None},
        {"hyperparameters": {"depth": 3}},
        {"hyperparameters": {**asdict(CONFIG), "heads": 3}},
        {"hyperparameters": {**asdict(CONFIG), "width": None}},
        {"tokenizer": {"type": "bpe"}},
        {"tokenizer": {"type": "byte_pair"}},
        {"tokenizer": None},
        {"state_dict": None},
        {"state_dict": {}},
        {"state_dict": {"head.weight": 1}},
    ],
    ids=str,
)
def test_a_part_that_is_unusable_is_refused(tmp_path: Path, part: dict[str, Any]) -> None:
    torch.save(content(**part), tmp_path / "best.pt")

    refusal(tmp_path / "best.pt")


def test_an_option_that_was_removed_may_have_the_value_that_every_model_has_now(tmp_path: Path) -> None:
    torch.save(content(hyperparameters={**asdict(CONFIG), "attention_dropout": 0.0}), tmp_path / "old.pt")
    torch.save(content(hyperparameters={**asdict(CONFIG), "attention_dropout": 0.1}), tmp_path / "other.pt")

    assert load_checkpoint(tmp_path / "old.pt").model.config == CONFIG
    assert "attention_dropout=0.1, and this version has only attention_dropout=0.0" in refusal(tmp_path / "other.pt")


@pytest.mark.parametrize("name", ["hyperparameters", "tokenizer", "state_dict"])
def test_a_part_that_is_missing_is_refused(tmp_path: Path, name: str) -> None:
    parts = content()
    del parts[name]
    torch.save(parts, tmp_path / "best.pt")

    refusal(tmp_path / "best.pt")


def test_a_file_whose_hash_differs_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    save_checkpoint(checkpoint(), path)
    promoted = sha256_of(path)
    altered = bytearray(path.read_bytes())
    altered[len(altered) // 2] ^= 1
    path.write_bytes(bytes(altered))

    assert "SHA-256 differs" in refusal(path, sha256=promoted)


class RunsCode:
    """Pickles to a call that makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("written_by", ["torch", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, written_by: str) -> None:
    trace = tmp_path / "was here"
    evil = content(training={"step": RunsCode(trace)})
    buffer = io.BytesIO()
    if written_by == "torch":
        torch.save(evil, buffer)
    else:
        pickle.dump({"format": FORMAT, "run": RunsCode(trace)}, buffer, protocol=2)
    (tmp_path / "best.pt").write_bytes(buffer.getvalue())

    refusal(tmp_path / "best.pt")

    assert not trace.exists()


def test_a_full_disk_keeps_the_checkpoint_that_was_there(tmp_path: Path) -> None:
    save_checkpoint(checkpoint(), tmp_path / "best.pt")
    before = sha256_of(tmp_path / "best.pt")

    with full_disk(room=4096), pytest.raises(StorageFull, match=r"best\.pt"):
        save_checkpoint(checkpoint(ModelConfig(**{**asdict(CONFIG), "layers": 4})), tmp_path / "best.pt")

    assert sha256_of(tmp_path / "best.pt") == before
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]
