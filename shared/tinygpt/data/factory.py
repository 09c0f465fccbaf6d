"""Running the data factory, a package of its own that an installation may lack, in a process of its own."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from tinygpt.contracts.errors import InvalidDataset

_PACKAGE = "tinygpt_factory"


def run_factory(arguments: Sequence[str]) -> int:
    """Run `python -m tinygpt_factory` with these arguments on this terminal. Returns its exit status.

    Raises `InvalidDataset` if the factory is not installed.
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        raise InvalidDataset("The data factory is not installed here: run this in a checkout, after `make install`.")
    return subprocess.run([sys.executable, "-m", _PACKAGE, *arguments], check=False).returncode
