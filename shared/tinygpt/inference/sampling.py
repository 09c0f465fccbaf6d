"""From logits to the next token: small pure functions on the logits of one sequence, float32 of shape (vocab,).

Every decoder samples with these functions, so the same logits, parameters and seed give the same token everywhere. They
are compiled (`compiled/jit.py`), and plain Python too: call them with NumPy arrays to see what each does.
"""

import math
import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygpt.compiled.jit import jit, kernel
from tinygpt.data.tokenizer import CODE, PAD, PROMPT, UNK

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]

NEVER_GENERATED = (PAD, UNK, PROMPT, CODE)
"""Control tokens that no answer contains. `<EOS>` is not among them, because it ends an answer."""
SMALLEST_TEMPERATURE = 1e-6
"""Below it sampling is greedy. Single precision can't divide by much less, and the result is the same."""

SAMPLING = np.dtype(
    [
        ("temperature", np.float32),
        ("top_p", np.float32),
        ("top_k", np.int32),
        ("min_p", np.float32),
        ("repetition_penalty", np.float32),
        ("repetition_window", np.int32),
        ("seed", np.uint64),
        ("balanced", np.bool_),
    ]
)
"""`SamplingParameters` for compiled code, made by `SamplingParameters.record`."""


@dataclass(frozen=True)
class SamplingParameters:
    """How to choose the next token. The defaults are greedy: the most likely token, every time."""

    temperature: float = 0.0
    """Divisor of the logits. 0 is greedy, 1 the model's own distribution, and more is flatter."""
    top_p: float = 1.0
    """Keep the smallest set of most likely tokens whose total probability reaches it."""
    top_k: int = 0
    """Keep this many of the most likely tokens. 0 keeps all."""
    min_p: float = 0.0
    """Minimum probability relative to the most likely token."""
    repetition_penalty: float = 1.0
    """Makes tokens less likely that are among the answer's last `repetition_window` ones. 1 changes nothing."""
    repetition_window: int = 64
    seed: int | None = None
    """The same seed gives the same tokens. None draws a fresh one."""
    balanced: bool = False
    """Never close a bracket that is not open, nor end with one open (`balance.py`)."""

    def record(self) -> np.void:
        """The parameters as one `SAMPLING` record, with a fresh seed if there is none."""
        record = np.zeros(1, SAMPLING)[0]
        for name in SAMPLING.names or ():
            record[name] = getattr(self, name) if name != "seed" else self._seed()
        return record  # type: ignore[no-any-return]

    def _seed(self) -> int:
        return secrets.randbits(63) if self.seed is None else self.seed % 2**64


@kernel
def uniform(seed: Any, position: int) -> float:
    """A pseudo-random number in [0, 1) that depends on seed and position alone (SplitMix64: Steele et al., 2014). So a
    sequence draws the same numbers whatever is decoded beside it."""
    z = np.uint64(seed) + (np.uint64(position) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for _ in range(2):  # twice, because consecutive seeds are alike
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * 2.0**-53


@jit
def penalise_repetition(logits: Floats, recent: Ids, penalty: float) -> Floats:
    """Make the tokens in `recent` less likely, each once (Keskar et al., "CTRL", 2019). A positive logit is divided by
    `penalty`, a negative one multiplied."""
    penalised = copy(logits)
    for i in range(len(recent)):
        logit = logits[recent[i]]
        penalised[recent[i]] = logit / np.float32(penalty) if logit > 0 else logit * np.float32(penalty)
    return penalised


@jit
def softmax(logits: Floats, temperature: float) -> Floats:
    """Probabilities that sum to 1. The largest logit is subtracted first, so a small temperature can't overflow."""
    largest = logits[most_likely(logits)]
    probabilities = np.empty_like(logits)
    for i in range(len(logits)):
        probabilities[i] = math.exp((logits[i] - largest) / np.float32(temperature))
    return rescale(probabilities)


@jit
def keep_top_k(probabilities: Floats, top_k: int) -> Floats:
    """Zero all but the `top_k` most likely tokens and rescale to sum 1. Of equals, the first is kept. 0 keeps all."""
    if top_k <= 0 or top_k >= len(probabilities):
        return probabilities
    return keep_most_likely(probabilities, top_k, 2.0)


@jit
def keep_top_p(probabilities: Floats, top_p: float) -> Floats:
    """Zero all but the smallest set of most likely tokens whose probability reaches `top_p`, and rescale to sum 1
    (Holtzman et al., 2020). The token that crosses the boundary is kept, so one always is. Of equals, the first is."""
    if top_p >= 1.0:
        return probabilities
    return keep_most_likely(probabilities, len(probabilities), top_p)


@jit
def keep_most_likely(probabilities: Floats, count: int, mass: float) -> Floats:
    """Keep the most likely tokens until there are `count`, or their total probability reaches `mass`, and rescale.

    They come from a heap: usually few are needed, and sorting all costs more.
    """
    heap = np.empty(len(probabilities), np.int32)
    size = 0
    minimum = (1.0 - mass) / len(probabilities)  # all tokens below it together can be left out
    for token in range(len(probabilities)):
        if probabilities[token] >= minimum:
            heap[size] = token
            size += 1
    for i in range(size // 2 - 1, -1, -1):
        sift_down(heap, i, size, probabilities)
    kept = np.zeros_like(probabilities)
    reached = np.float32(0.0)
    for _ in range(min(count, size)):
        token = heap[0]
        kept[token] = probabilities[token]
        reached += probabilities[token]
        if reached >= mass:
            break
        size -= 1
        heap[0] = heap[size]
        sift_down(heap, 0, size, probabilities)
    return rescale(kept)


@jit
def sift_down(heap: Ids, i: int, size: int, probabilities: Floats) -> None:
    """Swap the token at `i` with its more likely child (of equals, the first) until no child is more likely."""
    while True:
        best = i
        for child in range(2 * i + 1, min(2 * i + 3, size)):
            p, largest = probabilities[heap[child]], probabilities[heap[best]]
            if p > largest or (p == largest and heap[child] < heap[best]):
                best = child
        if best == i:
            return
        heap[i], heap[best] = heap[best], heap[i]
        i = best


@jit
def keep_min_p(probabilities: Floats, min_p: float) -> Floats:
    """Zero every token less likely than `min_p` times the most likely one, and rescale to sum 1 (Nguyen et al.,
    2024)."""
    if min_p <= 0.0:
        return probabilities
    minimum = probabilities[most_likely(probabilities)] * np.float32(min_p)
    kept = copy(probabilities)
    for i in range(len(kept)):
        if kept[i] < minimum:
            kept[i] = np.float32(0.0)
    return rescale(kept)


@jit
def draw(probabilities: Floats, random: float) -> int:
    """The token at which the running sum of probabilities exceeds `random`, which is in [0, 1)."""
    total = 0.0
    last = 0
    for token in range(len(probabilities)):
        if probabilities[token] > 0:
            total += probabilities[token]
            last = token
            if total > random:
                break
    return last  # also if rounding left the sum below `random`


@jit
def log_sum_exp(logits: Floats) -> float:
    """Logarithm of the sum of exponentials. A token's log probability is its logit minus this."""
    largest = logits[most_likely(logits)]
    total = np.float32(0.0)
    for i in range(len(logits)):
        total += math.exp(logits[i] - largest)
    return float(largest + math.log(total))


@jit
def allow(logits: Floats, allowed: NDArray[np.bool_]) -> Floats:
    """The logits, with minus infinity for every token that is not `allowed`."""
    masked = copy(logits)
    for i in range(len(logits)):
        if not allowed[i]:
            masked[i] = np.float32(-np.inf)
    return masked


@jit
def most_likely(values: Floats) -> int:
    """The token with the largest value. Of equals, the first."""
    best, largest = 0, values[0]
    for i in range(1, len(values)):
        if values[i] > largest:
            best, largest = i, values[i]
    return best


@jit
def rescale(probabilities: Floats) -> Floats:
    """The same proportions, with a sum of 1."""
    total = np.float32(0.0)
    for i in range(len(probabilities)):
        total += probabilities[i]
    rescaled = np.empty_like(probabilities)
    for i in range(len(probabilities)):
        rescaled[i] = probabilities[i] / total
    return rescaled


@jit
def copy(values: Floats) -> Floats:
    copied = np.empty_like(values)
    for i in range(len(values)):
        copied[i] = values[i]
    return copied


@kernel
def next_token_probabilities(logits: Floats, allowed: NDArray[np.bool_], recent: Ids, sampling: Any) -> Floats:
    """The distribution that the next token is drawn from. A greedy one has all its mass on one token.

    `allowed` (vocab,) says which tokens may be generated, `recent` holds the answer's last `repetition_window` tokens,
    and `sampling` is a `SAMPLING` record.
    """
    logits = allow(logits, allowed)
    if sampling["repetition_penalty"] != 1.0:
        logits = penalise_repetition(logits, recent, sampling["repetition_penalty"])
    if sampling["temperature"] < SMALLEST_TEMPERATURE:
        greedy = np.zeros_like(logits)
        greedy[most_likely(logits)] = np.float32(1.0)
        return greedy
    probabilities = softmax(logits, sampling["temperature"])
    probabilities = keep_top_k(probabilities, sampling["top_k"])
    probabilities = keep_top_p(probabilities, sampling["top_p"])
    return keep_min_p(probabilities, sampling["min_p"])


@kernel
def next_token(
    logits: Floats, allowed: NDArray[np.bool_], output: Ids, sampling: Any, position: int
) -> tuple[int, float]:
    """The token to follow `output`, which is the answer so far, and its log probability.

    The log probability is the model's own, of the plain softmax of `logits`. If a logit is NaN, it is NaN too, and the
    token has no meaning. `position` counts the answer's tokens, for the random numbers. The other arguments are those
    of `next_token_probabilities`.
    """
    recent = output[max(0, len(output) - sampling["repetition_window"]) :]
    probabilities = next_token_probabilities(logits, allowed, recent, sampling)
    token = draw(probabilities, uniform(sampling["seed"], position))
    return token, logits[token] - log_sum_exp(logits)


@kernel
def top_logprobs(logits: Floats, count: int) -> tuple[Ids, Floats]:
    """The `count` most likely tokens and their log probabilities (the model's own), most likely first."""
    ids = np.empty(count, np.int32)
    logprobs = np.empty(count, np.float32)
    remaining = copy(logits)
    normaliser = log_sum_exp(logits)
    for i in range(count):
        ids[i] = most_likely(remaining)
        logprobs[i] = logits[ids[i]] - normaliser
        remaining[ids[i]] = np.float32(-np.inf)
    return ids, logprobs


def generated_tokens(vocab_size: int) -> NDArray[np.bool_]:
    """Which tokens may be generated (vocab,): all but `NEVER_GENERATED`."""
    allowed = np.ones(vocab_size, np.bool_)
    allowed[list(NEVER_GENERATED)] = False
    return allowed
