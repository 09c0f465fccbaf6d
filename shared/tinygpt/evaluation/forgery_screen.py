"""A screen for answers that could forge a pass. They are refused without being run.

An answer is refused if it uses something that helps to forge a pass and that the expected code does not use. The screen
looks at the syntax tree only. It makes cheating visible but does not prevent it: code that is assembled at run time
passes the screen, and then the sandbox has to stop it.
"""

from tinygpt.evaluation.code_features import CodeFeatures, code_features
from tinygpt.evaluation.preloaded_modules import HARMLESS_MODULES

_HARMLESS_DUNDER_NAMES = """
__init__ __name__ __main__ __str__ __repr__ __doc__ __file__ __len__ __iter__ __next__ __enter__ __exit__ __call__
__add__ __sub__ __mul__ __getitem__ __setitem__ __slots__ __post_init__ __all__ __version__ __author__ __future__
"""
HARMLESS_DUNDERS = frozenset(_HARMLESS_DUNDER_NAMES.split())
_INTROSPECTION_NAMES = """
eval exec compile globals locals vars getattr setattr delattr __import__ breakpoint
"""
INTROSPECTION = frozenset(_INTROSPECTION_NAMES.split())
_MAY_BE_SET = frozenset({"os.environ"})


def refusal(code: str, *, expected: str, check: str) -> str | None:
    """Why `code` is refused, in a few words. None if it may run, or if it does not parse: the check will then fail."""
    answer, reference, checking = code_features(code), code_features(expected), code_features(check)
    if answer is None or reference is None:
        return None
    if names := _suspicious_names(answer, reference):
        return f"uses {min(names)}, which the expected code does not"
    if modules := answer.modules - reference.modules - HARMLESS_MODULES:
        return f"imports {min(modules)}, which the expected code does not"
    if changed := _changed(answer, reference, checking):
        return f"changes {min(changed)}, which the expected code does not"
    if redefined := _redefined(answer, reference, checking):
        return f"redefines {min(redefined)}, which the check relies on"
    return None


def _suspicious_names(answer: CodeFeatures, reference: CodeFeatures) -> set[str]:
    """Names that reach behind the scenes, and that the expected code does not use."""
    names = answer.dunders - reference.dunders - HARMLESS_DUNDERS
    names |= answer.internals - reference.internals
    names |= answer.private - reference.private
    if reference.builtins.isdisjoint(INTROSPECTION):
        names |= answer.builtins & INTROSPECTION
    return names


def _changed(answer: CodeFeatures, reference: CodeFeatures, checking: CodeFeatures | None) -> set[str]:
    """What the answer sets in modules that it or the check imports, and that the expected code does not set."""
    changed = answer.module_stores - reference.module_stores
    if checking is not None:
        imported = checking.modules | checking.imported_names
        changed |= {place for place in answer.stores - reference.stores if place.partition(".")[0] in imported}
    return changed - _MAY_BE_SET


def _redefined(answer: CodeFeatures, reference: CodeFeatures, checking: CodeFeatures | None) -> set[str]:
    """Built-in and imported names that the check uses and the answer binds anew, unless the expected code does too."""
    if checking is None:
        return set()
    names = (checking.builtins | checking.imported_names) & (answer.bound - answer.imported_names)
    names |= checking.builtins & answer.imported_names
    return names - reference.bound
