"""Features of a text of Python that matter for forging a pass, read from its syntax tree."""

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinygpt.inference.postprocess import tree_of

_PRIVATE_ON_NAMEDTUPLES = frozenset({"_replace", "_asdict", "_fields", "_make"})
_INTERNAL_NAMES = """
f_back f_locals f_globals f_builtins f_code tb_frame tb_next gi_frame cr_frame ag_frame gi_code settrace setprofile
addaudithook meta_path path_hooks excepthook unraisablehook displayhook mro
"""
_INTERNALS = frozenset(_INTERNAL_NAMES.split())
_DUNDER = re.compile(r"(?<!\w)__\w+?__(?!\w)")


@dataclass
class CodeFeatures:
    """What a text of Python uses and changes, as names."""

    dunders: set[str] = field(default_factory=set)
    """Names like `__class__`, also inside string literals."""
    internals: set[str] = field(default_factory=set)
    """Names that reach into the interpreter, also inside string literals."""
    private: set[str] = field(default_factory=set)
    """Private names of other objects and modules."""
    builtins: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    """Top-level modules that it imports."""
    imported_names: set[str] = field(default_factory=set)
    """Names that its imports bind."""
    stores: set[str] = field(default_factory=set)
    """Attributes that it sets or deletes, or whose items it sets or deletes, like `os.environ`."""
    bound: set[str] = field(default_factory=set)
    """Names that its outermost level binds."""

    @property
    def module_stores(self) -> set[str]:
        """The `stores` in what it imports."""
        return {place for place in self.stores if place.partition(".")[0] in self.imported_names}


def code_features(text: str) -> CodeFeatures | None:
    """The features of `text`, or None if it does not parse."""
    tree = tree_of(text)
    if tree is None:
        return None
    features = CodeFeatures()
    for node in ast.walk(tree):
        for name in _names(node):
            if _DUNDER.fullmatch(name):
                features.dunders.add(name)
            if name in _INTERNALS:
                features.internals.add(name)
        match node:
            case ast.Constant(value=str(value)):
                features.dunders.update(_DUNDER.findall(value))
                features.internals.update(_INTERNALS.intersection(re.findall(r"\w+", value)))
            case ast.Name(id=name) if hasattr(builtins, name):
                features.builtins.add(name)
            case ast.Call(func=ast.Name(id="type"), args=[_, _, _]):
                features.internals.add("type() to make a class")
            case ast.Import(names=aliases):
                features.modules.update(alias.name.partition(".")[0] for alias in aliases)
                features.imported_names.update(alias.asname or alias.name.partition(".")[0] for alias in aliases)
            case ast.ImportFrom(module=module, names=aliases):
                features.modules.add((module or ".").partition(".")[0])
                features.imported_names.update(alias.asname or alias.name for alias in aliases)
                features.private.update(
                    a.name for a in aliases if a.name.startswith("_") and not _DUNDER.fullmatch(a.name)
                )
                if module == "sys" and any(alias.name == "modules" for alias in aliases):
                    features.internals.add("sys.modules")
            case ast.Attribute(value=owner, attr=name, ctx=context):
                if name.startswith("_") and not _DUNDER.fullmatch(name) and not _is_own(owner, name):
                    features.private.add(name)
                if name == "modules" and isinstance(owner, ast.Name) and owner.id == "sys":
                    features.internals.add("sys.modules")
                if not isinstance(context, ast.Load) and (place := _dotted(node)):
                    features.stores.add(place)
            case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()) if isinstance(owner, ast.Attribute):
                if place := _dotted(owner):
                    features.stores.add(place)
            case _:
                pass
    features.bound = set(_bound(tree.body))
    return features


def _names(node: ast.AST) -> Iterator[str]:
    """The names written in the node itself, not in its children."""
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
    """True for private attributes that a class may use of itself: `self._x`, and those of a named tuple."""
    return name in _PRIVATE_ON_NAMEDTUPLES or (isinstance(owner, ast.Name) and owner.id in {"self", "cls", "other"})


def _dotted(node: ast.expr) -> str:
    """`a.b.c` as text. "" if the chain of attributes does not begin with a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Names that these statements bind in their own namespace, and names that functions in them declare global."""
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
            case ast.comprehension(iter=source, ifs=conditions):  # the target is local to the comprehension
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
