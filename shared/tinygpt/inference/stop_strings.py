"""The text of tokens that come one by one, up to the first stop string in it."""

from bisect import bisect_right
from collections.abc import Sequence

from tinygpt.data.tokenizer import TextDecoder


class TextUntilStop:
    """Collects the text of tokens. What is `ready` will stay: it has no half of a character, and no end that the next
    tokens may complete to a stop string.

    The stop string that completes first wins, character by character; if several end at the same character, the
    longest.
    """

    def __init__(self, decode: TextDecoder, stop: Sequence[str]) -> None:
        self.text = ""
        self.stopped = False
        self._decode = decode
        self._stop = sorted(stop, key=len, reverse=True)
        self._tokens = 0
        self._ends: list[int] = []
        """Where each token's text ends. Kept only if there are stop strings, because it needs a loop over tokens."""

    def add(self, ids: Sequence[int]) -> int:
        """Add tokens and return how many. If a stop string completes, its token is the last one added."""
        if not self._stop:
            self.text += self._decode(ids)
            self._tokens += len(ids)
            return len(ids)
        for added, token in enumerate(ids, start=1):
            before = len(self.text)
            self.text += self._decode([token])
            self._tokens += 1
            self._ends.append(len(self.text))
            if self._cut(before):
                self.stopped = True
                return added
        return len(ids)

    def ready(self, *, ended: bool = False) -> tuple[int, int]:
        """How many characters will stay, and how many tokens lie in them. All will, once the tokens have `ended`."""
        if self.stopped:
            return len(self.text), bisect_right(self._ends, len(self.text))
        if ended or not self._stop:
            return len(self.text), self._tokens
        characters = len(self.text) - self._held_back()
        return characters, bisect_right(self._ends, characters)

    def _cut(self, before: int) -> bool:
        """If a stop string completes after the first `before` characters, end the text before it and return True."""
        for end in range(before + 1, len(self.text) + 1):
            for stop in self._stop:
                if self.text.endswith(stop, 0, end):
                    self.text = self.text[: end - len(stop)]
                    return True
        return False

    def _held_back(self) -> int:
        """Length of the longest end of the text that is the beginning of a stop string."""
        longest = len(self._stop[0]) - 1
        for length in range(min(longest, len(self.text)), 0, -1):
            if any(len(stop) > length and self.text.endswith(stop[:length]) for stop in self._stop):
                return length
        return 0
