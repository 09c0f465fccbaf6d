"""The nearest training prompt, for when the model has no usable answer. Never passed off as generation."""

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process, utils

from tinygpt.data.rows import Row

SIMILARITY_FLOOR = 70.0
"""Below this similarity (0 to 100), no answer is better than a wrong one."""


@dataclass(frozen=True)
class Match:
    """A training row, and how near its prompt is: 0 to 100."""

    row: Row
    similarity: float


class RetrievalIndex:
    """Finds the training row whose prompt is nearest, by rapidfuzz's similarity of the sorted words."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._prompts = [utils.default_process(row.prompt) for row in rows]

    def __len__(self) -> int:
        return len(self._rows)

    def nearest(self, prompt: str, *, floor: float = 0.0) -> Match | None:
        """The nearest row with a similarity of at least `floor`, else None. Of equals, the first.

        A prompt without a letter or digit is near to nothing.
        """
        query = utils.default_process(prompt)
        if not query:
            return None
        found = process.extractOne(query, self._prompts, scorer=fuzz.token_sort_ratio, score_cutoff=floor)
        if found is None:
            return None
        _, similarity, index = found
        return Match(self._rows[index], round(similarity, 1))
