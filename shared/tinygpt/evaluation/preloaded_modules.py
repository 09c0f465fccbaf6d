"""Modules of the standard library that any answer may use, even if the expected code does not.

The helper imports them before it is isolated, because afterwards it may not be able to read their files.
"""

import ast
import sys
from collections.abc import Iterable

from tinygpt.inference.postprocess import tree_of

_HARMLESS_NAMES = """
abc argparse array base64 binascii bisect calendar cmath collections colorsys contextlib copy csv dataclasses
datetime decimal difflib enum errno fnmatch fractions functools getpass glob graphlib hashlib heapq html io
itertools json keyword logging math numbers operator os pathlib platform pprint random re reprlib secrets
shlex shutil stat statistics string struct sys tempfile textwrap time timeit tokenize typing unicodedata urllib
uuid warnings zlib zoneinfo
"""
HARMLESS_MODULES = frozenset(_HARMLESS_NAMES.split())

_NEEDED_BY_THEM = """
_pydecimal _strptime ast bz2 collections.abc configparser encodings.ascii encodings.cp1252 encodings.idna
encodings.latin_1 encodings.utf_16 encodings.utf_32 encodings.utf_8_sig gettext gzip html.parser inspect json.tool
locale lzma ntpath os.path pickle posixpath queue sched sqlite3 string.templatelib tarfile threading traceback types
urllib.parse weakref xml.etree.ElementTree zipfile
"""
_NEVER_LOADED = frozenset({"antigravity", "ctypes", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle"})


def modules_to_load(named: Iterable[str] = ()) -> list[str]:
    """The modules that the helper imports: the harmless ones, what they import late, and of `named` those of the
    standard library."""
    modules = HARMLESS_MODULES.union(_NEEDED_BY_THEM.split())
    for name in named:
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names and top not in _NEVER_LOADED:
            modules |= {top, name}
    return sorted(modules)


def imported_modules(texts: Iterable[str]) -> set[str]:
    """The names of the modules that these texts of Python import."""
    names: set[str] = set()
    for text in texts:
        tree = tree_of(text) if "import" in text else None
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    return names
