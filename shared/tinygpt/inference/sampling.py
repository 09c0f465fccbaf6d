"""From logits to the next token: small pure functions on one sequence's logits, float32 of shape (vocab,).

Every decoder samples with these, so that the same logits, parameters and seed give the same token everywhere. They are
compiled (`compiled/jit.py`) but plain Python too: call them with NumPy arrays and look at what each does.
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
"""Control tokens that no answer contains; `<EOS>` ends one."""
SMALLEST_TEMPERATURE = 1e-6
"""Below it the choice is greedy: single precision can't divide by much less, and the result is the same."""

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
"""`SamplingParameters` as compiled code reads them: what `SamplingParameters.record` makes."""


@dataclass(frozen=True)
class SamplingParameters:
    """How to choose the next token. What stands here is the plainest choice: the likeliest token, every time."""

    temperature: float = 0.0
    """What logits are divided by: 0 is greedy, 1 the model's own distribution, more is flatter."""
    top_p: float = 1.0
    """Only the smallest set of likeliest tokens whose probability reaches it."""
    top_k: int = 0
    """Only so many of the likeliest tokens; 0 is all."""
    min_p: float = 0.0
    """Only tokens at least this times as likely as the likeliest."""
    repetition_penalty: float = 1.0
    """How much less likely a token is that stands among the last `repetition_window` of the answer; 1 is no less."""
    repetition_window: int = 64
    seed: int | None = None
    """The same seed gives the same tokens; None draws a fresh one."""
    balanced: bool = False
    """Never close a bracket that is not open, nor end with one open (`balance.py`)."""

    def record(self) -> np.void:
        """The parameters as one `SAMPLING` record, its seed drawn where there is none."""
        record = np.zeros(1, SAMPLING)[0]
        for name in SAMPLING.names or ():
            record[name] = getattr(self, name) if name != "seed" else self._seed()
        return record  # type: ignore[no-any-return]

    def _seed(self) -> int:
        return secrets.randbits(63) if self.seed is None else self.seed % 2**64


@kernel
def uniform(seed: Any, position: int) -> float:
    """A number in [0, 1) that looks random but depends on the two alone (SplitMix64: Steele et al., 2014): what a
    sequence draws is the same whatever else is decoded beside it."""
    z = np.uint64(seed) + (np.uint64(position) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for _ in range(2):  # twice, for seeds that follow one another
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * 2.0**-53


@jit
def penalise_repetition(logits: Floats, recent: Ids, penalty: float) -> Floats:
    """Make each token of `recent` less likely, once however often it stands there (Keskar et al., "CTRL", 2019): a
    positive logit is divided by `penalty`, a negative one multiplied."""
    penalised = copy(logits)
    for i in range(len(recent)):
        logit = logits[recent[i]]
        penalised[recent[i]] = logit / np.float32(penalty) if logit > 0 else logit * np.float32(penalty)
    return penalised


@jit
def softmax(logits: Floats, temperature: float) -> Floats:
    """Probabilities, which sum to 1. The largest logit is subtracted first: a small temperature can't overflow."""
    largest = logits[likeliest(logits)]
    probabilities = np.empty_like(logits)
    for i in range(len(logits)):
        probabilities[i] = math.exp((logits[i] - largest) / np.float32(temperature))
    return rescale(probabilities)


@jit
def keep_top_k(probabilities: Floats, top_k: int) -> Floats:
    """Zero all but the `top_k` likeliest tokens, of equals the first, and rescale to sum 1. 0 keeps all."""
    if top_k <= 0 or top_k >= len(probabilities):
        return probabilities
    return keep_likeliest(probabilities, top_k, 2.0)


@jit
def keep_top_p(probabilities: Floats, top_p: float) -> Floats:
    """Zero all but the smallest set of likeliest tokens whose probability reaches `top_p`, and rescale to sum 1
    (Holtzman et al., 2020). The token that crosses the boundary stays, so one always does; of equals, the first."""
    if top_p >= 1.0:
        return probabilities
    return keep_likeliest(probabilities, len(probabilities), top_p)


@jit
def keep_likeliest(probabilities: Floats, count: int, mass: float) -> Floats:
    """The likeliest tokens, one after the other, until there are `count` or their probabilities reach `mass`: taken
    from a heap, for few are needed as a rule and to sort them all costs more."""
    heap = np.empty(len(probabilities), np.int32)
    size = 0
    least = (1.0 - mass) / len(probabilities)  # of what is below it, all together can be missed
    for token in range(len(probabilities)):
        if probabilities[token] >= least:
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
    """Swap the token at `i` with the likelier of the two below it, of equals the first, until none is likelier."""
    while True:
        best = i
        for below in range(2 * i + 1, min(2 * i + 3, size)):
            p, most = probabilities[heap[below]], probabilities[heap[best]]
            if p > most or (p == most and heap[below] < heap[best]):
                best = below
        if best == i:
            return
        heap[i], heap[best] = heap[best], heap[i]
        i = best


@jit
def keep_min_p(probabilities: Floats, min_p: float) -> Floats:
    """Zero every token less likely than `min_p` times the likeliest, and rescale to sum 1 (Nguyen et al., 2024)."""
    if min_p <= 0.0:
        return probabilities
    least = probabilities[likeliest(probabilities)] * np.float32(min_p)
    kept = copy(probabilities)
    for i in range(len(kept)):
        if kept[i] < least:
            kept[i] = np.float32(0.0)
    return rescale(kept)


@jit
def draw(probabilities: Floats, random: float) -> int:
    """The token at which the running sum of probabilities passes `random`, which is in [0, 1)."""
    passed = 0.0
    last = 0
    for token in range(len(probabilities)):
        if probabilities[token] > 0:
            passed += probabilities[token]
            last = token
            if passed > random:
                break
    return last  # also where rounding left the sum below `random`


@jit
def log_sum_exp(logits: Floats) -> float:
    """The logarithm of the sum of the exponentials: a token's log-probability is its logit less this."""
    largest = logits[likeliest(logits)]
    total = np.float32(0.0)
    for i in range(len(logits)):
        total += math.exp(logits[i] - largest)
    return float(largest + math.log(total))


@jit
def allow(logits: Floats, allowed: NDArray[np.bool_]) -> Floats:
    """The logits, minus infinity for every token that is not `allowed`."""
    possible = copy(logits)
    for i in range(len(logits)):
        if not allowed[i]:
            possible[i] = np.float32(-np.inf)
    return possible


@jit
def likeliest(values: Floats) -> int:
    """The token with the largest value, of equals the first."""
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
    """The distribution that the next token is drawn from; a greedy one has all its mass on one token.

    `allowed` (vocab,) says what may be generated at all, `recent` holds the answer's last `repetition_window` tokens,
    `sampling` is a `SAMPLING` record.
    """
    logits = allow(logits, allowed)
    if sampling["repetition_penalty"] != 1.0:
        logits = penalise_repetition(logits, recent, sampling["repetition_penalty"])
    if sampling["temperature"] < SMALLEST_TEMPERATURE:
        greedy = np.zeros_like(logits)
        greedy[likeliest(logits)] = np.float32(1.0)
        return greedy
    probabilities = softmax(logits, sampling["temperature"])
    probabilities = keep_top_k(probabilities, sampling["top_k"])
    probabilities = keep_top_p(probabilities, sampling["top_p"])
    return keep_min_p(probabilities, sampling["min_p"])


@kernel
def next_token(
    logits: Floats, allowed: NDArray[np.bool_], output: Ids, sampling: Any, position: int
) -> tuple[int, float]:
    """Choose the token that follows `output`, all that the answer has so far, and say its log-probability.

    The log-probability is the model's own: of the plain softmax of `logits`. Where one of those is not a number, nor is
    it, and the token means nothing. `position` counts the answer's tokens, for random numbers. The other arguments are
    those of `next_token_probabilities`.
    """
    recent = output[max(0, len(output) - sampling["repetition_window"]) :]
    probabilities = next_token_probabilities(logits, allowed, recent, sampling)
    token = draw(probabilities, uniform(sampling["seed"], position))
    return token, logits[token] - log_sum_exp(logits)


@kernel
def top_logprobs(logits: Floats, count: int) -> tuple[Ids, Floats]:
    """The `count` likeliest tokens and their log-probabilities, the likeliest first; the model's own, as above."""
    ids = np.empty(count, np.int32)
    logprobs = np.empty(count, np.float32)
    remaining = copy(logits)
    normaliser = log_sum_exp(logits)
    for i in range(count):
        ids[i] = likeliest(remaining)
        logprobs[i] = logits[ids[i]] - normaliser
        remaining[ids[i]] = np.float32(-np.inf)
    return ids, logprobs


def generated_tokens(vocab_size: int) -> NDArray[np.bool_]:
    """Which of the vocabulary an answer may contain, (vocab,), `<EOS>` too, which ends it."""
    allowed = np.ones(vocab_size, np.bool_)
    allowed[list(NEVER_GENERATED)] = False
    return allowed
