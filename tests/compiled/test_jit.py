"""Where numba can't be had, whatever the reason, the same functions run as plain Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "shared"
WITHOUT = {
    "not installed": ("import sys; sys.modules['numba'] = None", "ModuleNotFoundError"),
    "a library that it needs is missing": ("import sys; sys.path.insert(0, sys.argv[1])", "libLLVM.so"),
    "switched off": ("import os; os.environ['NUMBA_DISABLE_JIT'] = '1'", "NUMBA_DISABLE_JIT"),
    "a processor that LLVM doesn't know": (
        """
import llvmlite.binding
def create_target_machine(*args, **options):
    raise RuntimeError("no such processor")
llvmlite.binding.Target.create_target_machine = create_target_machine
""",
        "no such processor",
    ),
}
DRAW = """
import numpy as np
from tinygpt.compiled.jit import can_compile
from tinygpt.inference.sampling import SamplingParameters, generated_tokens, next_token
can_compile()
can_compile()
record = SamplingParameters(temperature=0.9, top_p=0.95, top_k=30, repetition_penalty=1.3, seed=3).record()
logits = (3 * np.random.default_rng(0).standard_normal(102)).astype(np.float32)
answer = np.arange(9, dtype=np.int32)
with np.errstate(over="ignore"):
    print([int(next_token(logits, generated_tokens(102), answer, record, i)[0]) for i in range(40)])
"""
DECODE = """
import torch
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.inference.backend import make_decoder
from tinygpt.inference.decoder import decode
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.model.config import ModelConfig
from tinygpt.model.ops.arrays import has_kernels
from tinygpt.model.transformer import TinyGPT
tokenizer = CharacterTokenizer.from_corpus([])
model = TinyGPT(ModelConfig(vocab_size=tokenizer.vocab_size, layers=1, width=16, heads=1)).eval()
decoder = make_decoder(model, tokenizer)
print(type(decoder).__name__)
decode(decoder, tokenizer.encode_prompt("a"), SamplingParameters(), max_new_tokens=3)
print(has_kernels(torch.bfloat16, torch.device("cpu"), 16))
"""


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder with a numba that can't be imported."""
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise OSError('libLLVM.so: cannot open shared object file')")
    return tmp_path


def run(code: str, broken: Path) -> list[str]:
    """The lines that a process of its own prints."""
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    done = subprocess.run(
        [sys.executable, "-c", code, broken], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(("obstacle", "told"), WITHOUT.values(), ids=WITHOUT)
def test_the_same_tokens_are_drawn_and_the_log_says_once_why_nothing_is_compiled(
    broken: Path, obstacle: str, told: str
) -> None:
    (compiled,) = run(DRAW, broken)
    log, plain = run(obstacle + DRAW, broken)

    assert plain == compiled
    assert len(set(plain.split())) > 3
    assert "kernels are not compiled" in log
    assert told in log


@pytest.mark.parametrize(("obstacle", "told"), WITHOUT.values(), ids=WITHOUT)
def test_pytorch_decodes_and_no_kernel_has_a_part_in_training(broken: Path, obstacle: str, told: str) -> None:
    log, decoder, _, uses_kernels = run(obstacle + DECODE, broken)

    assert "PyTorch decodes" in log
    assert told in log
    assert (decoder, uses_kernels) == ("TorchDecoder", "False")
