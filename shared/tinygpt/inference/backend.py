"""Which decoder a model gets: PyTorch's, or the compiled one."""

from typing import Literal

import structlog

from tinygpt.compiled.jit import OBSTACLE
from tinygpt.contracts.models import WeightFormat
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.inference.decoder import Decoder
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.model.transformer import TinyGPT

log = structlog.get_logger()

Backend = Literal["auto", "torch", "compiled"]


def make_decoder(
    model: TinyGPT,
    tokenizer: Tokenizer,
    *,
    slots: int = 1,
    backend: Backend = "auto",
    weights: WeightFormat = "float32",
    threads: int = 1,
) -> Decoder:
    """A decoder of `model` with `slots` slots, of the backend that `choose_backend` chooses.

    `weights` and `threads` are for the compiled decoder. PyTorch's decodes with the weights of the model and the
    threads of PyTorch, and logs a warning if other weights were asked for.
    """
    if choose_backend(model, backend) == "compiled":
        from tinygpt.inference.compiled_decoder import CompiledDecoder  # here, because its kernels take time to load

        return CompiledDecoder(model, tokenizer, slots=slots, weights=weights, threads=threads)
    if weights != "float32":
        log.warning("PyTorch decodes with float32 weights, other than asked for", asked=weights)
    return TorchDecoder(model, tokenizer, slots=slots)


def choose_backend(model: TinyGPT, backend: Backend) -> Literal["torch", "compiled"]:
    """`auto` is `compiled` for a transformer on a CPU if numba can compile, else `torch`, with the reason logged.

    Raises `ValueError` if `compiled` is asked for and can't be had.
    """
    if backend == "torch":
        return "torch"
    obstacle = _why_not_compiled(model)
    if obstacle is None:
        return "compiled"
    if backend == "compiled":
        raise ValueError(f"the compiled decoder can't be used: {obstacle}")
    log.info("PyTorch decodes, not compiled kernels", reason=obstacle)
    return "torch"


def _why_not_compiled(model: TinyGPT) -> str | None:
    if model.config.architecture != "transformer":
        return f"it decodes transformers, and this model is of the architecture {model.config.architecture}"
    if model.device.type != "cpu":
        return f"it computes on the CPU, and this model is on {model.device}"
    return OBSTACLE
