"""The standard library's modules that any answer may use, whether or not the expected code does.

The helper imports them before it is shut in, so that they are there even where their files can't be read any more.
"""

import sys
from collections.abc import Iterable

_HARMLESS_NAMES = """
abc argparse array base64 binascii bisect calendar cmath collections colorsys contextlib copy csv dataclasses
datetime decimal difflib enum errno fnmatch fractions functools getpass glob graphlib hashlib heapq html io
itertools json keyword logging math numbers operator os pathlib platform pprint random re reprlib secrets
shlex shutil stat statistics string struct sys tempfile textwrap time timeit tokenize typing unicodedata urllib
uuid warnings zlib zoneinfo
"""
HARMLESS_MODULES = frozenset(_HARMLESS_NAMES.split())

_BESIDE_THEM = """
_pydecimal _strptime ast bz2 collections.abc configparser encodings.ascii encodings.cp1252 encodings.idna
encodings.latin_1 encodings.utf_16 encodings.utf_32 encodings.utf_8_sig gettext gzip html.parser inspect json.tool
locale lzma ntpath os.path pickle posixpath queue sched sqlite3 string.templatelib tarfile threading traceback types
urllib.parse weakref xml.etree.ElementTree zipfile
"""
_NEVER_LOADED = frozenset({"antigravity", "ctypes", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle"})


def modules_to_load(named: Iterable[str] = ()) -> list[str]:
    """What the helper imports: the harmless ones, their hidden parts, and those of the standard library `named`."""
    wanted = HARMLESS_MODULES.union(_BESIDE_THEM.split())
    for name in named:
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names and top not in _NEVER_LOADED:
            wanted |= {top, name}
    return sorted(wanted)
