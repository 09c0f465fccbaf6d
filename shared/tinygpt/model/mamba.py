"""The block of a selective state-space model (Gu & Dao, "Mamba", 2023), with one decay a head (Dao & Gu, "Mamba-2",
2024), which turns a chunk of the text into a few matrix products.

Each head keeps a matrix as its memory. A token lets some of it decay, writes to it, and reads from it:

    state[t] = decay[t] * state[t - 1] + write[t]^T values[t]
    y[t] = read[t] state[t]

"Selective" means that decay, write and read depend on the token itself, so the memory can keep one token and ignore
another. As in an LSTM, a new token costs the same however long the text is. Unlike an LSTM's, the recurrence is linear
in the state, so training need not go token by token.

Shapes: B batch, T time, C width, I = 2 C inner width, H heads, D = I / H, N = STATE_WIDTH.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinygpt.model.config import ModelConfig
from tinygpt.model.convolution import ShortConvolution

STATE_WIDTH = 64
_TAPS = 3
"""Positions before the current one that the convolution reads: with it four, as in the paper."""
_CHUNK = 64
"""Tokens read at once. The work within a chunk grows with its square; chunks are read in a loop."""
_SHORTEST_STEP, _LONGEST_STEP = 1e-3, 1e-1
"""Range of the heads' initial steps, evenly spaced as logarithms: memories of a few tokens to a thousand."""


def selective_scan(
    values: Tensor, log_decay: Tensor, write: Tensor, read: Tensor, state: Tensor, chunk: int = _CHUNK
) -> tuple[Tensor, Tensor]:
    """The recurrence above, chunk by chunk. Returns y (B, H, T, D) and the state after the last token.

    values is (B, H, T, D), log_decay (B, H, T) and at most 0, write and read (B, 1, T, N), state (B, H, N, D).
    The decay from one token to a later one is the exponential of a sum of logarithms, not a quotient of products, so it
    is at most 1, and 0 instead of 0 / 0 if it vanishes.
    """
    outputs = []
    for start in range(0, values.size(2), chunk):
        v, log_d, w, r = (part[:, :, start : start + chunk] for part in (values, log_decay, write, read))
        since_start = log_d.cumsum(dim=-1)  # (B, H, t): from the chunk's start to each token, as a logarithm
        between = since_start.unsqueeze(-1) - since_start.unsqueeze(-2)  # (B, H, t, s): from token s to token t
        later = torch.ones_like(between[0, 0], dtype=torch.bool).triu(1)
        decay = between.masked_fill(later, -math.inf).exp()
        within = (r @ w.mT * decay) @ v  # attention without softmax: read matches write
        before = since_start.exp().unsqueeze(-1) * (r @ state)
        outputs.append(within + before)
        to_end = (since_start[..., -1:] - since_start).exp().unsqueeze(-1)  # (B, H, s, 1)
        state = since_start[..., -1:].exp().unsqueeze(-1) * state + w.mT @ (to_end * v)
    return torch.cat(outputs, dim=2), state


class MambaCache:
    """One layer's state after the tokens read: `state` (batch, heads, N, D), in fp32, and the convolution's last
    inputs `recent` (batch, taps, I + 2 N)."""

    def __init__(self, batch: int, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        inner, heads = 2 * config.width, 2 * config.heads
        self.state = torch.zeros(batch, heads, STATE_WIDTH, inner // heads, device=device)
        self.recent = torch.zeros(batch, _TAPS, inner + 2 * STATE_WIDTH, device=device, dtype=dtype)


class MambaBlock(nn.Module):
    """Project, convolve, scan, gate, project back: in place of both attention and MLP."""

    def __init__(self, config: ModelConfig, _layer: int) -> None:
        super().__init__()
        self.config = config
        self.inner, self.heads = 2 * config.width, 2 * config.heads
        self.norm = nn.LayerNorm(config.width)
        self.input = nn.Linear(config.width, 2 * self.inner + 2 * STATE_WIDTH + self.heads)
        self.convolution = ShortConvolution(_TAPS, self.inner + 2 * STATE_WIDTH)
        # A decay is exp(-rate * step), and a step is softplus(the token's + the head's own).
        self.log_rate = nn.Parameter(torch.arange(1.0, self.heads + 1).log())
        steps = torch.logspace(math.log10(_SHORTEST_STEP), math.log10(_LONGEST_STEP), self.heads)
        self.step_offset = nn.Parameter(steps.expm1().log())  # softplus of it is the step
        self.skip = nn.Parameter(torch.ones(self.heads, 1, 1))
        self.inner_norm = nn.LayerNorm(self.inner)
        self.output = nn.Linear(self.inner, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: MambaCache | None = None, labelled_positions: Tensor | None = None) -> Tensor:
        """x (B, T, C) to (B, T, C), or to (L, C) for L `labelled_positions`, indices into B * T."""
        projected = self.input(self.norm(x))
        gate, mixed, step = torch.split(projected, [self.inner, self.inner + 2 * STATE_WIDTH, self.heads], dim=-1)
        mixed = F.silu(self.convolution(mixed, cache.recent if cache is not None else None))
        y = self._scan(mixed.float(), step.float(), cache).to(x.dtype) * F.silu(gate)  # (B, T, I)
        if labelled_positions is not None:
            x, y = x.flatten(0, 1)[labelled_positions], y.flatten(0, 1)[labelled_positions]
        added: Tensor = x + self.dropout(self.output(self.inner_norm(y)))
        return added

    def make_cache(self, batch: int) -> MambaCache:
        weight = self.norm.weight
        return MambaCache(batch, self.config, weight.device, weight.dtype)

    def _scan(self, mixed: Tensor, step: Tensor, cache: MambaCache | None) -> Tensor:
        """mixed (B, T, I + 2 N) and step (B, T, H) to (B, T, I). In fp32, because in bf16 a state would round away the
        small amounts that it sums up."""
        values, write, read = torch.split(mixed, [self.inner, STATE_WIDTH, STATE_WIDTH], dim=-1)
        values = values.view(*step.shape, -1).transpose(1, 2)  # (B, H, T, D)
        step = F.softplus(step + self.step_offset.float()).transpose(1, 2)  # (B, H, T)
        log_decay = -self.log_rate.float().exp().unsqueeze(-1) * step
        batch, heads, _, head_width = values.shape
        state = cache.state if cache is not None else values.new_zeros(batch, heads, STATE_WIDTH, head_width)
        y, state = selective_scan(step.unsqueeze(-1) * values, log_decay, write.unsqueeze(1), read.unsqueeze(1), state)
        if cache is not None:
            cache.state = state
        y = y + self.skip.float() * values
        return y.transpose(1, 2).flatten(2)
