"""The nearest training prompt, for when the model has no usable answer. Its code is never passed off as generated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz, process, utils

from tinygpt.data.rows import Row

SIMILARITY_FLOOR = 70.0
"""Similarity from 0 to 100. Below it, no answer is better than a wrong one."""
_BATCH = 32
"""Prompts per search, which bounds the table of similarities."""


@dataclass(frozen=True)
class Match:
    """A training row, and how similar its prompt is: 0 to 100."""

    row: Row
    similarity: float


class RetrievalIndex:
    """Finds the training row whose prompt is nearest, by rapidfuzz's similarity of the sorted words.

    The words of the rows' prompts are sorted once, here: `token_sort_ratio` sorts them in every search and takes ten
    times as long. A search lets other threads run.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._prompts = [_sorted_words(row.prompt) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def nearest(self, prompt: str, *, floor: float = 0.0) -> Match | None:
        """The nearest row with a similarity of at least `floor`, or None. Of equals, the first.

        A prompt without a letter or digit has no match.
        """
        (match,) = self.nearest_of_each([prompt], floor=floor)
        return match

    def nearest_of_each(self, prompts: Sequence[str], *, floor: float = 0.0, workers: int = 1) -> list[Match | None]:
        """`nearest` for each prompt, on `workers` threads."""
        if not self.rows:
            return [None] * len(prompts)
        matches: list[Match | None] = []
        for start in range(0, len(prompts), _BATCH):
            queries = [_sorted_words(prompt) for prompt in prompts[start : start + _BATCH]]
            table = process.cdist(
                queries, self._prompts, scorer=fuzz.ratio, score_cutoff=floor, dtype=np.float64, workers=workers
            )
            for query, best, similarity in zip(queries, table.argmax(axis=1), table.max(axis=1), strict=True):
                near = query and similarity >= floor
                matches.append(Match(self.rows[best], round(float(similarity), 1)) if near else None)
        return matches


def _sorted_words(prompt: str) -> str:
    return " ".join(sorted(utils.default_process(prompt).split()))
