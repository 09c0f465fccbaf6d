"""Ctrl-C in a command: the first is noted, the second ends it, and afterwards it is as it was."""

import signal

import pytest

from tinygpt.commands.failures import CtrlC


def test_the_first_is_noted_for_those_who_ask_and_the_second_raised() -> None:
    told: list[None] = []
    before = signal.getsignal(signal.SIGINT)
    with CtrlC(lambda: told.append(None)) as ctrl_c:
        ctrl_c.raise_if_noted()
        signal.raise_signal(signal.SIGINT)
        assert ctrl_c.noted
        assert len(told) == 1
        with pytest.raises(KeyboardInterrupt):
            ctrl_c.raise_if_noted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert len(told) == 1
    assert signal.getsignal(signal.SIGINT) is before
