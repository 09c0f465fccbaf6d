"""What every architecture must do, and the selective scan against the recurrence that it stands for."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.known_ngrams import know_ngrams
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tinygpt.model.config import Architecture, ModelConfig
from tinygpt.model.mamba import selective_scan
from tinygpt.model.transformer import TinyGPT

CONFIG = ModelConfig(vocab_size=30, context_length=80, layers=2, heads=2, width=16, dropout=0.0, ngrams=(2, 3))
"""The context is longer than a chunk of the scan."""
ARCHITECTURES: tuple[Architecture, ...] = ("transformer", "lstm", "mamba")
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def model(architecture: Architecture) -> TinyGPT:
    """Weights large enough that what is far back in the text matters."""
    torch.manual_seed(0)
    gpt = know_ngrams(TinyGPT(replace(CONFIG, architecture=architecture)).eval(), random_ids(2, 80))
    with torch.no_grad():
        for parameter in gpt.parameters():
            if parameter.dim() == 2:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return gpt


def random_ids(batch: int, time: int) -> Tensor:
    return torch.randint(5, 30, (batch, time), generator=torch.Generator().manual_seed(1))


@every_architecture
def test_changing_a_token_changes_the_logits_from_there_on_only(architecture: Architecture) -> None:
    gpt, ids = model(architecture), random_ids(1, 80)
    changed = ids.clone()
    changed[0, 10] = 5 if ids[0, 10] != 5 else 6

    before, after = gpt(ids), gpt(changed)

    torch.testing.assert_close(after[:, :10], before[:, :10], atol=1e-5, rtol=1e-5)
    assert (after[:, 10:] - before[:, 10:]).abs().amax(dim=-1).min() > 1e-5


@every_architecture
@pytest.mark.parametrize("pieces", [[80], [1] * 80, [40, 40], [70, 1, 1, 8]], ids=["at once", "one by one", "2", "4"])
def test_reading_in_pieces_gives_the_logits_of_reading_at_once(architecture: Architecture, pieces: list[int]) -> None:
    gpt, ids = model(architecture), random_ids(2, 80)
    cache = gpt.make_cache(batch=2)

    with torch.inference_mode():
        logits = torch.cat([gpt(piece, cache) for piece in torch.split(ids, pieces, dim=1)], dim=1)
        torch.testing.assert_close(logits, gpt(ids), atol=1e-4, rtol=1e-4)

    assert cache.length == 80
    with pytest.raises(ValueError, match="81 tokens"):
        gpt(ids[:, :1], cache)


@every_architecture
def test_padding_on_the_right_changes_nothing_before_it(architecture: Architecture) -> None:
    gpt, ids = model(architecture), random_ids(2, 60)
    padded = torch.cat([ids, torch.zeros(2, 20, dtype=torch.long)], dim=1)

    torch.testing.assert_close(gpt(padded)[:, :60], gpt(ids), atol=1e-5, rtol=1e-5)


@every_architecture
def test_wanted_features_are_those_of_all_positions_picked(architecture: Architecture) -> None:
    gpt, ids = model(architecture), random_ids(2, 20)
    wanted = torch.tensor([39, 3, 3, 20])

    torch.testing.assert_close(gpt.features(ids, labelled_positions=wanted), gpt.features(ids).flatten(0, 1)[wanted])


@every_architecture
def test_every_parameter_learns(architecture: Architecture) -> None:
    gpt = model(architecture)
    gpt(random_ids(2, 70)).square().sum().backward()

    assert [name for name, parameter in gpt.named_parameters() if parameter.grad is None] == []


@every_architecture
def test_a_checkpoint_brings_the_same_network_back(architecture: Architecture, tmp_path: Path) -> None:
    tokenizer = CharacterTokenizer.from_corpus([])
    gpt = TinyGPT(replace(CONFIG, vocab_size=tokenizer.vocab_size, architecture=architecture)).eval()
    know_ngrams(gpt, random_ids(1, 20))
    torch.nn.init.normal_(gpt.get_parameter("ngram_embedding.table.weight"))
    save_checkpoint(Checkpoint(gpt, tokenizer), tmp_path / "best.pt")

    loaded = load_checkpoint(tmp_path / "best.pt").model

    assert loaded.config == gpt.config
    assert torch.equal(loaded(random_ids(1, 40)), gpt(random_ids(1, 40)))


@pytest.mark.parametrize("architecture", ["lstm", "mamba"])
def test_a_recurrent_network_needs_no_positions_to_tell_an_order(architecture: Architecture) -> None:
    gpt = model(architecture)

    assert not any("position" in name for name in gpt.state_dict())
    assert not torch.allclose(gpt(torch.tensor([[5, 6, 7, 8, 9]]))[0, -1], gpt(torch.tensor([[6, 5, 7, 8, 9]]))[0, -1])


@pytest.mark.parametrize("architecture", ["lstm", "mamba"])
def test_a_recurrent_networks_cache_does_not_grow(architecture: Architecture) -> None:
    gpt = model(architecture)
    cache = gpt.make_cache()
    sizes = []
    for time in (1, 30):
        gpt(random_ids(1, time), cache)
        sizes.append([tensor.shape for layer in cache.layers for tensor in vars(layer).values()])

    assert sizes[0] == sizes[1]


def test_an_architecture_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="transformer, lstm or mamba"):
        ModelConfig(architecture="perceptron")  # type: ignore[arg-type]


# -- the scan: (batch, heads, time, ...) = (2, 3, 10, ...), values of 4 numbers, a state of 5 x 4


def scan_inputs(decay: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    shapes = (2, 3, 10, 4), (2, 3, 10), (2, 1, 10, 5), (2, 1, 10, 5), (2, 3, 5, 4)
    values, log_decay, write, read, state = (torch.randn(*shape, generator=random) for shape in shapes)
    return values, -decay * log_decay.abs(), write, read, state


@pytest.mark.parametrize("chunk", [1, 3, 10, 64])
def test_the_scan_is_the_recurrence(chunk: int) -> None:
    values, log_decay, write, read, first = scan_inputs()
    state, expected = first, []
    for t in range(10):
        decay = log_decay[:, :, t, None, None].exp()
        state = decay * state + write[:, :, t].unsqueeze(-1) * values[:, :, t].unsqueeze(-2)
        expected.append((read[:, :, t].unsqueeze(-2) @ state).squeeze(-2))

    y, last = selective_scan(values, log_decay, write, read, first, chunk)

    torch.testing.assert_close(y, torch.stack(expected, dim=2), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(last, state, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 1e-6, 1e4])
def test_the_scan_and_its_gradient_stay_finite_when_nothing_decays_and_when_all_does(decay: float) -> None:
    inputs = [part.requires_grad_() for part in scan_inputs(decay)]

    y, last = selective_scan(inputs[0], inputs[1], inputs[2], inputs[3], inputs[4])
    (y.square().sum() + last.square().sum()).backward()  # type: ignore[no-untyped-call]

    assert y.isfinite().all()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in inputs)
