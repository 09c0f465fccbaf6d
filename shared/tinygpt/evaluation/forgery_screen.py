"""A screen for answers that could forge a pass. They are refused without being run.

An answer is refused if it uses something that helps to forge a pass and that the expected code does not use. The screen
looks at the syntax tree only. It makes cheating visible but does not prevent it: code that is assembled at run time
passes the screen, and then the sandbox has to stop it.
"""

from tinygpt.evaluation.code_features import code_features
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
    answer, reference, trial = code_features(code), code_features(expected), code_features(check)
    if answer is None or reference is None:
        return None
    surplus = answer.dunders - reference.dunders - HARMLESS_DUNDERS
    surplus |= answer.internals - reference.internals
    surplus |= answer.private - reference.private
    if reference.builtins.isdisjoint(INTROSPECTION):
        surplus |= answer.builtins & INTROSPECTION
    if surplus:
        return f"uses {min(surplus)}, which the expected code does not"
    modules = answer.modules - reference.modules - HARMLESS_MODULES
    if modules:
        return f"imports {min(modules)}, which the expected code does not"
    stores = answer.module_stores - reference.module_stores
    if trial is not None:
        imported = trial.modules | trial.imported_names
        stores |= {place for place in answer.stores - reference.stores if place.partition(".")[0] in imported}
    if changed := stores - _MAY_BE_SET:
        return f"changes {min(changed)}, which the expected code does not"
    if trial is not None:
        relied_on = (trial.builtins | trial.imported_names) & (answer.bound - answer.imported_names)
        relied_on |= trial.builtins & answer.imported_names
        if hidden := relied_on - reference.bound:
            return f"redefines {min(hidden)}, which the check relies on"
    return None
