"""The text of tokens that come little by little, up to the first stop string in it."""

from bisect import bisect_right
from collections.abc import Sequence

from tinygpt.data.tokenizer import TextDecoder


class TextUntilStop:
    """Gathers text token by token. What is `ready` will stay: it holds no half of a character, and nothing that the
    next tokens may make a stop string.

    Of several stop strings that one occurs first which is whole first, character by character; of those that end at
    the same character, the longest.
    """

    def __init__(self, decode: TextDecoder, stop: Sequence[str]) -> None:
        self.text = ""
        self.stopped = False
        self._decode = decode
        self._stop = sorted(stop, key=len, reverse=True)
        self._tokens = 0
        self._ends: list[int] = []
        """Where each token's text ends; only where there are stop strings, for it takes a loop over the tokens."""

    def add(self, ids: Sequence[int]) -> int:
        """Take tokens; returns how many, which is fewer than all where a stop string came with the last one taken."""
        if not self._stop:
            self.text += self._decode(ids)
            self._tokens += len(ids)
            return len(ids)
        for taken, token in enumerate(ids, start=1):
            before = len(self.text)
            self.text += self._decode([token])
            self._tokens += 1
            self._ends.append(len(self.text))
            if self._cut(before):
                self.stopped = True
                return taken
        return len(ids)

    def ready(self, *, ended: bool = False) -> tuple[int, int]:
        """How many characters will stay, and how many tokens lie in them; all of them once the tokens have `ended`."""
        if self.stopped:
            return len(self.text), bisect_right(self._ends, len(self.text))
        if ended or not self._stop:
            return len(self.text), self._tokens
        characters = len(self.text) - self._held_back()
        return characters, bisect_right(self._ends, characters)

    def _cut(self, before: int) -> bool:
        """End the text before a stop string that came with the characters after `before`, if one did."""
        for end in range(before + 1, len(self.text) + 1):
            for stop in self._stop:
                if self.text.endswith(stop, 0, end):
                    self.text = self.text[: end - len(stop)]
                    return True
        return False

    def _held_back(self) -> int:
        """The length of the longest end of the text that a stop string starts with."""
        longest = len(self._stop[0]) - 1
        for length in range(min(longest, len(self.text)), 0, -1):
            if any(len(stop) > length and self.text.endswith(stop[:length]) for stop in self._stop):
                return length
        return 0
