"""Kernels are compiled before the first step, and the run polls its callbacks in between."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tinygpt.compiled.jit import can_compile
from tinygpt.data.rows import Row
from tinygpt.model import ops, table_kernels, training_kernels
from tinygpt.model.config import SIZES
from tinygpt.training.config import Precision, TrainConfig
from tinygpt.training.run import train

KERNELS = {
    "training_kernels": (
        "norm_convolution", "norm_convolution_backward", "heads", "heads_backward", "causal_softmax",
        "causal_softmax_backward",
    ),
    "table_kernels": ("find_ngrams", "sum_of_rows", "sum_by_row", "adagrad_rows"),
}  # fmt: skip
COUNT = sum(map(len, KERNELS.values()))


def signatures() -> list[Any]:
    """The types that each kernel is compiled for."""
    modules = {"training_kernels": training_kernels, "table_kernels": table_kernels}
    return [list(getattr(modules[module], name).signatures) for module, names in KERNELS.items() for name in names]


@pytest.mark.skipif(not can_compile(), reason="needs numba")
@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_a_run_uses_the_kernels_in_the_types_that_they_were_compiled_for(
    tmp_path: Path, precision: Precision, dtype: torch.dtype
) -> None:
    ops.warm(dtype, torch.device("cpu"), lambda: None)
    before = signatures()

    model = replace(SIZES["tiny"], width=64, layers=1, context_length=32, ngram_rows=64)
    config = TrainConfig(model=model, batch_size=5, max_steps=2, max_seconds=None, precision=precision, threads=2)
    train(config, [Row(f"add {i} to x", f"x + {i}") for i in range(20)], folder=tmp_path)

    assert signatures() == before


def test_it_polls_after_every_kernel() -> None:
    polls: list[None] = []
    ops.warm(torch.float32, torch.device("cpu"), lambda: polls.append(None))
    assert len(polls) >= COUNT


@pytest.mark.skipif(not can_compile(), reason="needs numba")
def test_their_machine_code_is_kept_for_the_next_start(tmp_path: Path) -> None:
    code = f"""
import json
from tinygpt.model import ops, table_kernels, training_kernels
ops.warm_all(lambda: None)
for module, names in {KERNELS}.items():
    for name in names:
        stats = getattr(globals()[module], name).stats
        print(json.dumps([sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""

    def run(*arguments: str) -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=110).stdout

    assert "kernels of training" in run("-m", "tinygpt", "compile", "training")
    counted = [json.loads(line) for line in run("-c", code).splitlines()]
    assert len(counted) == COUNT
    assert all(hits and not misses for hits, misses in counted)


def test_where_nothing_can_be_compiled_the_command_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tinygpt", "compile"],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "NUMBA_DISABLE_JIT" in done.stdout
    assert not list(tmp_path.rglob("*.nbc"))
