"""`make bench-train`: what it measures and writes, not how fast this machine is."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.bench_train import main
from benchmarks.ceiling import measure_ceiling, step_flops
from benchmarks.curves import Curve, follow
from benchmarks.service_overhead import bare_run, service_run
from benchmarks.train_report import Run, compare
from benchmarks.training_sides import Data, PaddedLoop, ProjectLoop, load_data, padded_network
from tinygpt.data.rows import Row, write_rows
from tinygpt.model.config import ModelConfig
from tinygpt.training.batches import collate
from tinygpt.training.config import TrainConfig
from tinygpt.training.loss import training_loss

_ROWS = [Row(f"add {i} to x", f"x + {i}") for i in range(80)]
_CONTEXT = 32


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    write_rows(path, _ROWS)
    return path


@pytest.fixture
def data(rows: Path) -> Data:
    return load_data(rows, None, _CONTEXT)


def test_a_smoke_run_writes_curves_a_table_of_ratios_and_a_plot(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--seconds", "0.6", "--seeds", "1", "--sizes", "tiny", "--short-budgets", "0.3,5", "--threads", "1"]
    options += ["--evaluations", "2", "--context-length", str(_CONTEXT), "--train", str(rows), "--out", str(out)]

    command = [sys.executable, "-m", "benchmarks.bench_train", *options]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL)

    report = json.loads((out / "train.json").read_text())
    assert [(run["side"], run["budget"]) for run in report["runs"]] == [
        ("ours", 0.6),
        ("baseline", 0.6),
        ("same network", 0.6),
        ("ours", 0.3),
    ]
    assert all(run["curve"]["points"][-1][0] >= run["budget"] for run in report["runs"])
    ratios = [figure["ratio"]["median"] for figure in report["figures"]]
    assert len(ratios) == 4
    assert all(math.isfinite(ratio) for ratio in ratios)
    assert report["machine"]["packages"]["torch"]
    table = (out / "train.md").read_text()
    assert all(f"| tiny | {figure['what']} |" in table for figure in report["figures"])
    assert ElementTree.parse(out / "train.svg").getroot().tag.endswith("svg")


class _Falling:
    """A side whose loss is the steps that are left of ten."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self, _used: float) -> int:
        self.steps += 1
        return 7

    def validation_loss(self) -> float:
        return 10.0 - self.steps


def test_a_curve_counts_optimiser_time_alone_and_ends_with_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(float(i) for i in range(100))  # a second between readings: one a step
    monkeypatch.setattr("time.perf_counter", lambda: next(now))

    curve = follow(_Falling(), seconds=5.0, evaluations=2)

    assert curve.points == [(3.0, 7.0), (5.0, 5.0)]
    assert (curve.steps, curve.labelled_tokens, curve.tokens_per_second) == (5, 35, 7.0)


def _curve(points: list[tuple[float, float]]) -> Curve:
    return Curve(points, points[-1][0], 10, 1000, 2.0)


def test_the_shortest_budget_below_the_baselines_best_is_the_time_to_it() -> None:
    baseline = Run("baseline", "tiny", 0, 300, _curve([(150, 2.5), (290, 2.1), (300, 2.2)]))
    ours = Run("ours", "tiny", 0, 300, _curve([(150, 1.2), (300, 0.9)]))
    same = Run("same network", "tiny", 0, 60, _curve([(60, 2.0)]))
    short = [Run("ours", "tiny", 0, budget, _curve([(budget, loss)])) for budget, loss in ((10, 2.2), (20, 2.0))]

    *_, seconds = compare([ours, baseline, same, *short])

    assert (seconds.baseline.median, seconds.ours.median, seconds.ratio.median) == (290, 20, 14.5)


def test_a_loss_that_is_never_reached_is_null_and_no_speed_up() -> None:
    baseline = Run("baseline", "tiny", 0, 300, _curve([(300, 0.5)]))
    ours = Run("ours", "tiny", 0, 300, _curve([(300, 0.9)]))

    *_, seconds = compare([ours, baseline, replace(ours, side="same network")])

    assert seconds.to_json()["ours"] == {"median": None, "low": None, "high": None}
    assert seconds.ratio.median == 0


def test_both_sides_score_one_network_the_same(data: Data) -> None:
    network, mean_loss = padded_network("tiny", data.tokenizer.vocab_size, _CONTEXT, None)
    padded = PaddedLoop(network, mean_loss, data, _CONTEXT, seed=0)
    shape = ModelConfig(vocab_size=data.tokenizer.vocab_size, context_length=_CONTEXT, dropout=0.0)
    ours = ProjectLoop(TrainConfig(model=shape, precision="fp32"), data.tokenizer, data.training, data.validation)
    ours.model.load_state_dict(network.state_dict())

    assert padded.validation_loss() == pytest.approx(ours.validation_loss(), rel=1e-5)


def test_the_padded_loop_learns_from_the_same_tokens_and_lowers_the_loss(data: Data) -> None:
    torch.manual_seed(0)
    network, mean_loss = padded_network("tiny", data.tokenizer.vocab_size, _CONTEXT, None)
    loop = PaddedLoop(network, mean_loss, data, _CONTEXT, seed=0)
    before = loop.validation_loss()

    labelled = [loop.step(used=0.0) for _ in range(20)]

    assert min(labelled) >= loop.batch_size * len("x + 1") + loop.batch_size  # <EOS>
    assert loop.validation_loss() < before


def test_a_checkout_of_nanogpt_is_used_where_one_is_given(data: Data, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(_LIKE_NANOGPT)

    network, mean_loss = padded_network("tiny", data.tokenizer.vocab_size, _CONTEXT, tmp_path)
    loop = PaddedLoop(network, mean_loss, data, _CONTEXT, seed=0)

    assert type(network).__name__ == "GPT"
    assert loop.step(used=0.5) > 0
    assert math.isfinite(loop.validation_loss())


_LIKE_NANOGPT = """
from dataclasses import dataclass
from torch import nn
from torch.nn import functional as F

@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool

class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size)

    def forward(self, idx, targets=None):
        logits = self.lm_head(self.embedding(idx))
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
"""


@pytest.mark.parametrize("more", [{}, {"layers": 3, "mlps": "last", "future_tokens": 2}], ids=["tutorial", "presets"])
def test_the_formula_counts_the_operations_that_torch_counts(data: Data, more: dict[str, Any]) -> None:
    shape = ModelConfig(vocab_size=data.tokenizer.vocab_size, context_length=_CONTEXT, dropout=0.0, **more)
    loop = ProjectLoop(TrainConfig(model=shape, precision="fp32"), data.tokenizer, data.training, data.validation)
    by_length = sorted(data.training[:12], key=lambda example: len(example.ids))
    parts = [collate(examples, _CONTEXT) for examples in (by_length[:4], by_length[4:])]
    head_positions: list[int] = []
    loop.model.final_norm.register_forward_hook(lambda _norm, inputs, _normed: head_positions.append(len(inputs[0])))

    # torch counts the operations that attention is made of, not those inside its fused one.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for part in parts:
            loss, _ = training_loss(loop.model, part)
            loss.backward()  # type: ignore[no-untyped-call]

    computed, useful = step_flops(loop.model, parts, sum(head_positions))
    assert counter.get_total_flops() == pytest.approx(computed)
    assert 0 < useful < computed


def test_the_ceiling_is_measured_and_a_steps_share_of_it(data: Data) -> None:
    ceiling = measure_ceiling("tiny", data, _CONTEXT, seed=0, seconds=0.1)

    assert ceiling.ceiling_gflops > 0
    assert 0 < ceiling.useful_share < ceiling.computed_share


def test_a_run_of_the_service_and_a_bare_one_are_timed(rows: Path) -> None:
    bare = bare_run(rows, "tiny", _CONTEXT, seed=0, seconds=0.5)
    service = service_run(rows, "tiny", _CONTEXT, seed=0, seconds=0.5)

    assert bare.seconds >= 0.5
    assert service.seconds >= 0.5
    assert 0 < service.seconds_a_step_between_evaluations < service.seconds_a_step


@pytest.mark.parametrize("arguments", [["--sizes", "huge"], ["--seconds", "0"], ["--val", "x"], ["--nanogpt", "gone"]])
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
