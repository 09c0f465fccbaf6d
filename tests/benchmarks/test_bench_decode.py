"""`make bench-decode`: what it measures, counts and writes; and that the compiled decoder is the fast one."""

import importlib.util
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from benchmarks.bench_decode import main
from benchmarks.decoding_ceiling import read_gigabytes_a_second
from benchmarks.decoding_cells import REFERENCE, Agreement, Model, compare_texts, measure_cell
from benchmarks.decoding_exports import StepWithCache, export_hugging_face, gpt2_tensors, nanogpt_model
from benchmarks.decoding_models import (
    GREEDY,
    NETWORKS,
    PROMPT_CHARACTERS,
    SAMPLING,
    Sampling,
    flops_a_token,
    make_checkpoint,
    prompts,
)
from benchmarks.decoding_sides import CHECKPOINT, HUGGING_FACE, Ours, Transformers
from benchmarks.serving_cells import CLIENTS, serve, start_up
from benchmarks.side_process import SideFailed, Speed
from tinygpt.data.tokenizer import EOS, CharacterTokenizer
from tinygpt.inference.backend import Backend
from tinygpt.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

pytestmark = pytest.mark.timeout(300)
"""Where kernels are not compiled yet and the machine is busy, that alone can take two minutes."""
_TOKENS = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with random weights in it, in GPT-2's architecture."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = CharacterTokenizer.from_corpus([])
    torch.manual_seed(0)
    model = TinyGPT(ModelConfig(vocab_size=tokenizer.vocab_size, dropout=0.0)).eval()
    save_checkpoint(Checkpoint(_never_ending(model), tokenizer), folder / CHECKPOINT)
    return folder


def _never_ending(model: TinyGPT) -> TinyGPT:
    """`<EOS>` opposite to the mean of what the head is given: other tokens always come first."""
    with torch.no_grad():
        model.final_norm.bias.fill_(1.0)
        model.token_embedding.weight[EOS] = -1.0
    return model


def _side(folder: Path, backend: Backend) -> tuple[Ours, list[list[int]]]:
    tokenizer = load_checkpoint(folder / CHECKPOINT).tokenizer
    side = Ours(folder, cores=1, streams=1, backend=backend, weights="float32")
    return side, [tokenizer.encode_prompt(prompts(1)[0])]


def test_the_compiled_decoder_is_several_times_as_fast_as_the_pytorch_one(folder: Path) -> None:
    """Processor time of this thread, of which other processes take nothing; the best of alternating runs. The ratio
    is above ten on an idle machine."""
    sides = [_side(folder, backend) for backend in ("compiled", "torch")]
    seconds: list[list[float]] = [[], []]
    for _ in range(5):
        for of_side, (side, prompt) in zip(seconds, sides, strict=True):
            started = time.thread_time()
            (text,) = side.generate(prompt, _TOKENS, SAMPLING)
            of_side.append(time.thread_time() - started)
            assert len(text) == _TOKENS

    compiled, plain = (min(of_side[1:]) for of_side in seconds)

    assert plain / compiled > 3


def test_both_of_our_decoders_give_the_same_greedy_text(folder: Path) -> None:
    texts = []
    for backend in ("compiled", "torch"):
        side, prompt = _side(folder, backend)
        texts.append(side.generate(prompt, _TOKENS, GREEDY))

    assert texts[0] == texts[1]


def test_the_weights_are_trained_until_no_answer_ends_early(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(NETWORKS["tiny"], tmp_path / CHECKPOINT, steps=25)
    ids = [checkpoint.tokenizer.encode_prompt(prompt) for prompt in prompts(8)]
    side = Ours(tmp_path, cores=1, streams=8, backend="compiled", weights="float32")

    texts = side.generate(ids, 200, SAMPLING)

    assert [len(text) for text in texts] == [200] * 8
    assert {len(prompt) for prompt in ids} == {PROMPT_CHARACTERS + 2}
    assert all(weight.dtype == torch.float32 for weight in checkpoint.model.parameters())


def test_the_graph_for_onnx_gives_the_models_logits_step_by_step(folder: Path) -> None:
    model = load_checkpoint(folder / CHECKPOINT).model
    config = model.config
    ids = torch.randint(5, config.vocab_size, (2, 9))
    graph, cache = StepWithCache(model), torch.zeros(config.layers, 2, 2, config.heads, 0, config.head_width)

    with torch.inference_mode():
        expected = model(ids)
        mask = torch.full((6, 6), float("-inf")).triu(1)
        logits, cache = graph(ids[:, :6], torch.arange(6), mask, cache)
        torch.testing.assert_close(logits, expected[:, 5], rtol=1e-4, atol=1e-5)
        for position in range(6, 9):
            one = ids[:, position : position + 1]
            logits, cache = graph(one, torch.tensor([position]), torch.zeros(1, position + 1), cache)
            torch.testing.assert_close(logits, expected[:, position], rtol=1e-4, atol=1e-5)


def test_only_gpt2s_architecture_is_given_to_peers() -> None:
    with pytest.raises(ValueError, match="GPT-2"):
        gpt2_tensors(TinyGPT(ModelConfig(positions="rotary")))


@pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="a peer, of .venv-bench")
def test_transformers_gives_our_greedy_text_from_the_exported_weights(folder: Path) -> None:
    export_hugging_face(load_checkpoint(folder / CHECKPOINT), folder / HUGGING_FACE)
    side, prompt = _side(folder, "torch")

    assert Transformers(folder).generate(prompt, _TOKENS, GREEDY) == side.generate(prompt, _TOKENS, GREEDY)


def test_a_checkout_of_nanogpt_gets_our_weights(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(_LIKE_NANOGPT)
    checkpoint = load_checkpoint(folder / CHECKPOINT)

    theirs = nanogpt_model(checkpoint, tmp_path)

    ours = checkpoint.model.state_dict()
    assert torch.equal(theirs.transformer.wpe.weight, ours["position_embedding.weight"])
    assert torch.equal(theirs.transformer.h[1].mlp.c_fc.weight, ours["blocks.1.mlp.expand.weight"])
    assert torch.equal(theirs.lm_head.weight, ours["token_embedding.weight"])


_LIKE_NANOGPT = """
from dataclasses import dataclass
from torch import nn

@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool

def block(c):
    return nn.ModuleDict({
        "ln_1": nn.LayerNorm(c),
        "attn": nn.ModuleDict({"c_attn": nn.Linear(c, 3 * c), "c_proj": nn.Linear(c, c)}),
        "ln_2": nn.LayerNorm(c),
        "mlp": nn.ModuleDict({"c_fc": nn.Linear(c, 4 * c), "c_proj": nn.Linear(4 * c, c)}),
    })

class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        c = config.n_embd
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(config.vocab_size, c),
            "wpe": nn.Embedding(config.block_size, c),
            "h": nn.ModuleList(block(c) for _ in range(config.n_layer)),
            "ln_f": nn.LayerNorm(c),
        })
        self.lm_head = nn.Linear(c, config.vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight
"""


def test_a_tokens_operations_are_those_that_torch_counts(folder: Path) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = load_checkpoint(folder / CHECKPOINT).model
    cache = torch.zeros(2, 2, 1, model.config.heads, 99, model.config.head_width)

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        StepWithCache(model)(torch.tensor([[7]]), torch.tensor([99]), torch.zeros(1, 100), cache)

    assert flops_a_token(model.config, [100]) == counter.get_total_flops()


def test_a_larger_buffer_is_read_no_faster_than_memory_allows() -> None:
    assert 0.1 < read_gigabytes_a_second(1 << 20, core=0) < 10_000


# -- the model server under load


def test_our_server_is_measured_over_http_and_its_start_up(folder: Path) -> None:
    model = Model("tiny", folder, load_checkpoint(folder / CHECKPOINT).tokenizer, for_peers=True)
    cores = set(sorted(os.sched_getaffinity(0))[:2])

    served = serve(model, prompts(8), cores, llama=None, seconds=0.4, repetitions=1, settings={}, say=lambda _: None)
    plain = {"TINYGPT_MODEL_SERVER_DECODER": "torch"}  # which compiles little
    started = start_up(
        model, cores, repetitions=1, settings=plain, say=lambda _: None, kernels_in_turn=["compiled anew"]
    )

    assert [one.clients for one in served] == [*CLIENTS, 32]
    assert not sum(one.lost for one in served)
    assert all(one.tokens_a_second > 0 and one.resident_mib > 0 for one in served)
    assert [one.first_token_p99_seconds is None for one in served] == [True] * 4 + [False]
    assert [one.kernels for one in started] == ["compiled anew"]
    assert all(0 < one.seconds < 60 for one in started)


# -- texts, and sides that fail


def test_only_what_rounds_may_turn_away_from_near_ties() -> None:
    sides = ("ours, float32", "ours, int8", "CTranslate2, float32", "llama.cpp, fp32", "llama.cpp, Q8_0", "nanoGPT")

    assert not any(Agreement("tiny", side, 2, 1, 1, 3).wrong for side in sides)
    wrong = [side for side in sides if Agreement("tiny", side, 2, 1, 0, 3).wrong]
    assert wrong == ["ours, float32", "CTranslate2, float32", "nanoGPT"]


class _Writes:
    """A side that writes what the PyTorch decoder does, but for the token at one place."""

    def __init__(self, name: str, folder: Path, changed: int | None = None) -> None:
        self.name = name
        self._side, _ = _side(folder, "torch")
        self._changed = changed

    def texts(self, model: Model, prompts: Sequence[str], new_tokens: int, sampling: Sampling) -> list[list[int]]:
        texts = [self._side.generate([prompt], new_tokens, sampling)[0] for prompt in model.prompts(prompts)]
        if self._changed is not None:
            texts[-1][self._changed] = EOS  # the least likely of all
        return texts

    def measure(self, _model: Model, _prompts: Sequence[str], _new_tokens: int, _seconds: float) -> Speed:
        raise SideFailed(self.name)


def test_texts_are_compared_token_by_token(folder: Path) -> None:
    model = Model("tiny", folder, load_checkpoint(folder / CHECKPOINT).tokenizer, for_peers=True)
    everyone = [_Writes(REFERENCE, folder), _Writes("same", folder), _Writes("other", folder, changed=5)]

    agreements = compare_texts(model, everyone, prompts(3), 10, lambda _: None)

    assert [(one.equal, one.near_ties, one.first_difference, one.wrong) for one in agreements] == [
        (3, 0, None, False),
        (3, 0, None, False),
        (2, 0, 5, True),
    ]


def test_a_side_that_fails_is_left_out_and_named(folder: Path) -> None:
    model = Model("tiny", folder, load_checkpoint(folder / CHECKPOINT).tokenizer, for_peers=True)
    said: list[str] = []

    measured = measure_cell(
        model, [_Writes("odd", folder)], 1, prompts(1), new_tokens=1, seconds=0, repetitions=2, say=said.append
    )

    assert measured == []
    assert said == ["left out: odd"]


@pytest.mark.parametrize(
    "arguments", [["--sizes", "huge"], ["--only", "all"], ["--ours", "ours, float8"], ["--llama-server", "gone"]]
)
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
