"""A GPT: token ids in, a score for every possible next token out (GPT-2: Radford et al., 2019).

First come the parts: attention, the MLP, and a block of both. The whole network comes last. To see the whole before its
parts, start with `GPT.forward`.

Shapes in comments: B rows in the batch, T tokens in a row, C numbers per token (the width), H heads, D = C / H, V
tokens in the vocabulary. Every part takes (B, T, C) and gives (B, T, C) back.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Lets every token collect information from itself and the tokens before it (Vaswani et al., 2017).

    Each token asks with a query, offers a key, and hands over a value. The better a query matches a key, the more of
    that key's value is collected. Several heads do this side by side, each with its own queries, keys and values.
    """

    causal_mask: Tensor

    def __init__(self, context_length: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        lower_triangle = torch.ones(context_length, context_length, dtype=torch.bool).tril()
        self.register_buffer("causal_mask", lower_triangle)  # row t is True up to column t

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape  # B, T, C

        # Compute the queries, keys and values of all heads at once, then cut them apart.
        q, k, v = self.query_key_value(x).split(width, dim=2)  # 3 times (B, T, C)
        q = q.view(batch, time, self.heads, -1).transpose(1, 2)  # (B, H, T, D)
        k = k.view(batch, time, self.heads, -1).transpose(1, 2)  # (B, H, T, D)
        v = v.view(batch, time, self.heads, -1).transpose(1, 2)  # (B, H, T, D)

        # How well does the query of each token match the key of each token?
        scores = q @ k.transpose(2, 3)  # (B, H, T, T)
        # A sum of D products grows with D. Divided by sqrt(D) it stays in the range where softmax has a gradient.
        scores = scores / math.sqrt(q.size(-1))
        # No token may look at a later one: that would give away what it has to predict.
        scores = scores.masked_fill(~self.causal_mask[:time, :time], -math.inf)
        # Turn scores into shares: each row sums to 1, and what is masked gets 0.
        shares = F.softmax(scores, dim=-1)  # (B, H, T, T)

        # Collect the values by these shares, and put the heads side by side again.
        collected = shares @ v  # (B, H, T, D)
        collected = collected.transpose(1, 2).reshape(batch, time, width)
        y: Tensor = self.output(collected)  # (B, T, C)
        return y


class MLP(nn.Module):
    """Lets every token process what it has collected, without looking at the others.

    It is four times as wide inside, with a GELU in between (Hendrycks & Gimpel, 2016).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.output = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.expand(x))  # (B, T, 4 C)
        y: Tensor = self.output(hidden)  # (B, T, C)
        return y


class Block(nn.Module):
    """One layer: attention, then the MLP.

    Each reads a normalised copy of x and adds its result to x. So x itself runs through all layers like a conveyor
    belt (the residual stream), and the gradient runs back along it just as directly.
    """

    def __init__(self, context_length: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(context_length, width, heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLP(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        y: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return y


class GPT(nn.Module):
    """The whole network: embeddings, blocks, and a head that scores every token of the vocabulary.

    Its weights have the names and shapes of those of `TinyGPT(ModelConfig())`: `load_state_dict` takes either's.
    """

    def __init__(
        self,
        vocab_size: int,
        context_length: int = 256,
        layers: int = 2,
        heads: int = 4,
        width: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.context_length = context_length
        self.token_embedding = nn.Embedding(vocab_size, width)  # what a token means
        self.position_embedding = nn.Embedding(context_length, width)  # where it stands
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(context_length, width, heads, dropout) for _ in range(layers))
        self.final_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.initialise()
        # A token's embedding is also what its score is computed with (Press & Wolf, 2017): one matrix serves both.
        self.head.weight = self.token_embedding.weight

    def initialise(self) -> None:
        """Start as GPT-2 does: matrices small and random, biases 0, and the scales of norms 1."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name.endswith("output.weight"):
                # Every block adds twice to the residual stream. Scaled down, the sum does not grow with the layers.
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * len(self.blocks)))
            elif parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of the next token at every position, (B, T, V), from token ids (B, T)."""
        positions = torch.arange(ids.size(1), device=ids.device)  # (T): 0, 1, 2, ...
        x = self.token_embedding(ids) + self.position_embedding(positions)  # (B, T, C) + (T, C)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)  # (B, T, C)
        x = self.final_norm(x)
        logits: Tensor = self.head(x)  # (B, T, V)
        return logits
