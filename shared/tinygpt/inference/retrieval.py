"""The nearest training prompt, for when the model has no usable answer. Never passed off as generation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz, process, utils

from tinygpt.data.rows import Row

SIMILARITY_FLOOR = 70.0
"""Below this similarity (0 to 100), no answer is better than a wrong one."""
_AT_ONCE = 32


@dataclass(frozen=True)
class Match:
    """A training row, and how near its prompt is: 0 to 100."""

    row: Row
    similarity: float


class RetrievalIndex:
    """Finds the training row whose prompt is nearest, by rapidfuzz's similarity of the sorted words.

    `rows` are the training rows. The words of their prompts are sorted beforehand: `token_sort_ratio`, which sorts them
    in every search, takes ten times as long. A search lets other threads run.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._known = [_sorted_words(row.prompt) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def nearest(self, prompt: str, *, floor: float = 0.0) -> Match | None:
        """The nearest row with a similarity of at least `floor`, else None. Of equals, the first.

        A prompt without a letter or digit is near to nothing.
        """
        (match,) = self.nearest_of_each([prompt], floor=floor)
        return match

    def nearest_of_each(self, prompts: Sequence[str], *, floor: float = 0.0, workers: int = 1) -> list[Match | None]:
        """`nearest` of many prompts, by so many threads."""
        if not self.rows:
            return [None] * len(prompts)
        matches: list[Match | None] = []
        for start in range(0, len(prompts), _AT_ONCE):
            queries = [_sorted_words(prompt) for prompt in prompts[start : start + _AT_ONCE]]
            table = process.cdist(
                queries, self._known, scorer=fuzz.ratio, score_cutoff=floor, dtype=np.float64, workers=workers
            )
            for query, best, similarity in zip(queries, table.argmax(axis=1), table.max(axis=1), strict=True):
                near = query and similarity >= floor
                matches.append(Match(self.rows[best], round(float(similarity), 1)) if near else None)
        return matches


def _sorted_words(prompt: str) -> str:
    return " ".join(sorted(utils.default_process(prompt).split()))
