"""The nearest training prompt of many prompts at once, by the same measure as `RetrievalIndex`."""

from collections.abc import Sequence

from rapidfuzz import fuzz, process, utils

from tinygpt.data.rows import Row
from tinygpt.inference.retrieval import Match

_AT_ONCE = 64


def _sorted_words(prompt: str) -> str:
    """What `token_sort_ratio` compares; made once for each prompt, since there are many comparisons."""
    return " ".join(sorted(utils.default_process(prompt).split()))


def nearest_rows(prompts: Sequence[str], training_rows: Sequence[Row], *, workers: int = 1) -> list[Match | None]:
    """For each prompt its nearest training row, of equals the first; None where there are no training rows."""
    if not training_rows:
        return [None] * len(prompts)
    known = [_sorted_words(row.prompt) for row in training_rows]
    matches: list[Match | None] = []
    for start in range(0, len(prompts), _AT_ONCE):
        queries = [_sorted_words(prompt) for prompt in prompts[start : start + _AT_ONCE]]
        for similarities in process.cdist(queries, known, scorer=fuzz.ratio, workers=workers):
            best = int(similarities.argmax())
            matches.append(Match(training_rows[best], round(float(similarities[best]), 1)))
    return matches
