"""Every operation of the network that has a kernel, and the choice between kernel and torch.

Each operation is one function here. Its file has three parts: the reference in torch, the compiled version with its
gradient, and the function that picks one of them. The modules of the network hold weights and call these functions.

The compiled versions (`training_kernels.py`) need a CPU, fp32 or bf16, and widths that are multiples of 16. Each
function says what else it needs. The references take the rest: a cache, a GPU, inference mode, a machine without numba.
Both compute the same up to rounding.

Shapes: B batch, T time, S positions attended to, C width, H heads, D = C / H, K taps of a convolution.
"""

from tinygpt.model.ops.attention import attention_heads, attention_weights, causal_attention
from tinygpt.model.ops.convolution import norm_convolution, short_convolution
from tinygpt.model.ops.tables import ngram_embedding, rowwise_adagrad_step
from tinygpt.model.ops.warm import warm, warm_all

__all__ = [
    "attention_heads",
    "attention_weights",
    "causal_attention",
    "ngram_embedding",
    "norm_convolution",
    "rowwise_adagrad_step",
    "short_convolution",
    "warm",
    "warm_all",
]
