"""The thread that turns a scheduler, and how others hand it requests: from any thread, or from an event loop."""

import asyncio
from collections.abc import Callable, Sequence

from tinygpt.inference.decoder import Decoder
from tinygpt.inference.scheduler import DecodeRequest, Event


class Engine:
    """One decoder, one thread, many requests. Every method may be called from any thread.

    Deliveries to an event loop are one `call_soon_threadsafe` a turn, whatever the number of requests.
    """

    def __init__(
        self, decoder: Decoder, text_decoder: Callable[[], Callable[[Sequence[int]], str]], *, max_waiting: int = 256
    ) -> None: ...

    def submit(
        self,
        requests: Sequence[DecodeRequest],
        deliver: Callable[[Event], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> list[int]:
        """Take all the requests or none; returns their ids. `deliver` gets each one's events, the last of them with
        `decoded` or `error`: in `loop` where given, else in the engine's thread, where it must not linger.

        Raises `QueueFull` where the queue has no room for all, `Draining` after `close`, `TinyGPTError` where the
        decoder is broken.
        """
        raise NotImplementedError

    def cancel(self, ids: Sequence[int]) -> None:
        """Let these end as `cancelled` at the next step, with what they wrote. Ended and unknown ones don't matter."""
        raise NotImplementedError

    @property
    def running(self) -> int:
        """Requests in a slot."""
        raise NotImplementedError

    @property
    def waiting(self) -> int:
        """Requests taken that have no slot yet."""
        raise NotImplementedError

    @property
    def slots(self) -> int:
        raise NotImplementedError

    def close(self, *, drain_seconds: float = 0.0) -> None:
        """Take nothing more, let what runs end for so many seconds, cancel the rest, end the thread."""
