"""A port is bound, or one sentence says why it can't be."""

import pytest

from tests.conftest import free_port
from tinygpt.http.server import bind_or_exit


def test_a_free_port_is_bound_and_listens() -> None:
    port = free_port()
    with bind_or_exit("127.0.0.1", port, "TINYGPT_PORT") as listener:
        assert listener.getsockname() == ("127.0.0.1", port)


def test_a_taken_port_ends_the_program_with_a_sentence_that_names_the_setting() -> None:
    port = free_port()
    with bind_or_exit("127.0.0.1", port, "TINYGPT_PORT"), pytest.raises(SystemExit) as caught:
        bind_or_exit("127.0.0.1", port, "TINYGPT_PORT")
    message = str(caught.value)
    assert message.startswith(f"Can't listen on 127.0.0.1:{port} (")
    assert message.endswith("or set TINYGPT_PORT to another.")
