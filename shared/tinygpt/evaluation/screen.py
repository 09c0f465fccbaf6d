"""Answers that are refused unread by the interpreter, since they use what forges a pass and the expected code does not.

The screen looks at the syntax tree only. It is there to make cheating plain, not to hold it: text that is put together
at run time gets past it, and then meets the sandbox.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinygpt.evaluation.modules import HARMLESS_MODULES
from tinygpt.inference.postprocess import tree_of

_HARMLESS_DUNDER_NAMES = """
__init__ __name__ __main__ __str__ __repr__ __doc__ __file__ __len__ __iter__ __next__ __enter__ __exit__ __call__
__add__ __sub__ __mul__ __getitem__ __setitem__ __slots__ __post_init__ __all__ __version__ __author__ __future__
"""
HARMLESS_DUNDERS = frozenset(_HARMLESS_DUNDER_NAMES.split())
_INTROSPECTION_NAMES = """
eval exec compile globals locals vars getattr setattr delattr __import__ breakpoint
"""
INTROSPECTION = frozenset(_INTROSPECTION_NAMES.split())
_PRIVATE_ON_NAMEDTUPLES = frozenset({"_replace", "_asdict", "_fields", "_make"})
_INTERPRETER_NAMES = """
f_back f_locals f_globals f_builtins f_code tb_frame tb_next gi_frame cr_frame ag_frame gi_code settrace setprofile
addaudithook meta_path path_hooks excepthook unraisablehook displayhook mro
"""
_INSIDE_THE_INTERPRETER = frozenset(_INTERPRETER_NAMES.split())
_MAY_BE_SET = frozenset({"os.environ"})
_DUNDER = re.compile(r"(?<!\w)__\w+?__(?!\w)")


def refusal(code: str, *, expected: str, check: str) -> str | None:
    """Why `code` is refused, in a few words; None if it may be run. Code that does not parse is left to the check."""
    answer, model, trial = _features(code), _features(expected), _features(check)
    if answer is None or model is None:
        return None
    surplus = answer.dunders - model.dunders - HARMLESS_DUNDERS
    surplus |= answer.inside - model.inside
    surplus |= answer.private - model.private
    if model.builtins.isdisjoint(INTROSPECTION):
        surplus |= answer.builtins & INTROSPECTION
    if surplus:
        return f"uses {min(surplus)}, which the expected code does not"
    modules = answer.modules - model.modules - HARMLESS_MODULES
    if modules:
        return f"imports {min(modules)}, which the expected code does not"
    stores = answer.module_stores - model.module_stores
    if trial is not None:
        imported = trial.modules | trial.imported_names
        stores |= {place for place in answer.stores - model.stores if place.partition(".")[0] in imported}
    if changed := stores - _MAY_BE_SET:
        return f"changes {min(changed)}, which the expected code does not"
    if trial is not None:
        relied_on = (trial.builtins | trial.imported_names) & (answer.bound - answer.imported_names)
        relied_on |= trial.builtins & answer.imported_names
        if hidden := relied_on - model.bound:
            return f"redefines {min(hidden)}, which the check relies on"
    return None


@dataclass
class _Features:
    """What of a text the screen compares. `bound` are names that its outermost level binds."""

    dunders: set[str] = field(default_factory=set)
    inside: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    builtins: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    imported_names: set[str] = field(default_factory=set)
    stores: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)

    @property
    def module_stores(self) -> set[str]:
        return {place for place in self.stores if place.partition(".")[0] in self.imported_names}


def _features(text: str) -> _Features | None:
    tree = tree_of(text)
    if tree is None:
        return None
    found = _Features()
    for node in ast.walk(tree):
        for name in _names(node):
            if _DUNDER.fullmatch(name):
                found.dunders.add(name)
            if name in _INSIDE_THE_INTERPRETER:
                found.inside.add(name)
        match node:
            case ast.Constant(value=str(value)):
                found.dunders.update(_DUNDER.findall(value))
                found.inside.update(_INSIDE_THE_INTERPRETER.intersection(re.findall(r"\w+", value)))
            case ast.Name(id=name) if hasattr(builtins, name):
                found.builtins.add(name)
            case ast.Call(func=ast.Name(id="type"), args=[_, _, _]):
                found.inside.add("type() to make a class")
            case ast.Import(names=aliases):
                found.modules.update(alias.name.partition(".")[0] for alias in aliases)
                found.imported_names.update(alias.asname or alias.name.partition(".")[0] for alias in aliases)
            case ast.ImportFrom(module=module, names=aliases):
                found.modules.add((module or ".").partition(".")[0])
                found.imported_names.update(alias.asname or alias.name for alias in aliases)
                found.private.update(
                    a.name for a in aliases if a.name.startswith("_") and not _DUNDER.fullmatch(a.name)
                )
                if module == "sys" and any(alias.name == "modules" for alias in aliases):
                    found.inside.add("sys.modules")
            case ast.Attribute(value=owner, attr=name, ctx=context):
                if name.startswith("_") and not _DUNDER.fullmatch(name) and not _is_own(owner, name):
                    found.private.add(name)
                if name == "modules" and isinstance(owner, ast.Name) and owner.id == "sys":
                    found.inside.add("sys.modules")
                if not isinstance(context, ast.Load) and (place := _dotted(node)):
                    found.stores.add(place)
            case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()) if isinstance(owner, ast.Attribute):
                if place := _dotted(owner):
                    found.stores.add(place)
            case _:
                pass
    found.bound = set(_bound(tree.body))
    return found


def _names(node: ast.AST) -> Iterator[str]:
    """The names that a node spells out itself."""
    match node:
        case (
            ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name)
        ):
            yield name
        case ast.ClassDef(name=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
            yield name
        case ast.ImportFrom(names=aliases) | ast.Import(names=aliases):
            for alias in aliases:
                yield alias.name
                yield alias.asname or ""
        case ast.MatchClass(kwd_attrs=names):
            yield from names
        case _:
            return


def _is_own(owner: ast.expr, name: str) -> bool:
    """Private attributes that are a class's own affair."""
    return name in _PRIVATE_ON_NAMEDTUPLES or (isinstance(owner, ast.Name) and owner.id in {"self", "cls", "other"})


def _dotted(node: ast.expr) -> str:
    """`a.b.c`, or "" where it does not begin with a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Names that these statements bind in the namespace they run in, and what functions in them declare global."""
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Global):
                        yield from inner.names
                continue
            case ast.Lambda():
                continue
            case ast.comprehension(iter=source, ifs=conditions):  # its target is its own
                pending += [source, *conditions]
                continue
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in aliases)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name
            case _:
                pass
        pending.extend(ast.iter_child_nodes(node))
