"""What a check may call to run an answer as if it were pasted into a fresh interpreter.

The answer sees the variables that the check gives it and Python's builtins, nothing else. An answer that needs a module
must import it. People who write checks use `result` and `printed`, the data factory `answer_value` and `run_answer`.
"""

import ast
import contextlib
import copy
import io
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from types import ModuleType
from typing import Any

_LAZY = (Iterator, KeysView, ItemsView, ValuesView, range)


def result(code: str, **names: Any) -> Any:
    """What the answer gives when it is run with these variables.

    The first of these that there is: the variable that the answer changed; the value of the last line, if that is an
    expression; the variable that it assigned, or the function or class that it defined. A function is called with the
    variables, if any are given: by parameter name if the names agree, in order otherwise. Iterators, views of a
    dictionary and ranges become lists. The variables themselves are never changed.

    Raises whatever the answer raises, `SyntaxError` among others.
    """
    outcome = _outcome(code, names)
    if callable(outcome) and names:
        outcome = _call(outcome, names)
    return list(outcome) if isinstance(outcome, _LAZY) else outcome


def printed(code: str, **names: Any) -> str:
    """What the answer prints when it is run with these variables, without white space at its end."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "<answer>", "exec"), _fresh(names))
    return out.getvalue().rstrip()


def answer_value(code: str, scope: Mapping[str, Any]) -> Any:
    """The value of the answer's last line, run with the variables of `scope`: `answer_value(code, globals())`.

    Raises `SyntaxError` if the last line is no expression.
    """
    return evaluate(code, _fresh(_variables(scope)))


def run_answer(code: str, scope: dict[str, Any]) -> None:
    """Run the answer with the variables of `scope`, and put what it binds there: `run_answer(code, globals())`.

    Raises `NameError` if it binds a name that checks call.
    """
    fresh = _fresh(_variables(scope))
    exec(compile(code, "<answer>", "exec"), fresh)
    if taken := sorted({"answer_value", "run_answer"} & fresh.keys()):
        raise NameError(f"the answer binds {taken[0]}, which the check calls")
    scope.update({name: bound for name, bound in fresh.items() if not name.startswith("__")})


def evaluate(code: str, scope: dict[str, Any]) -> Any:
    """`eval` for an answer of several lines: the value of the last one, after the others were run in `scope`."""
    tree = ast.parse(code)
    *before, last = tree.body or [ast.Pass()]
    if not isinstance(last, ast.Expr):
        raise SyntaxError("the answer's last line is no expression")
    exec(compile(ast.Module(before, []), "<answer>", "exec"), scope)
    return eval(compile(ast.Expression(last.value), "<answer>", "eval"), scope)


def check_functions(namespace: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """What the check that runs in `namespace` may call. Its `eval` takes answers of several lines too."""

    def eval_in_check(code: str, *scopes: Any) -> Any:
        return eval(code, *scopes) if scopes else evaluate(code, namespace)

    functions = (result, printed, answer_value, run_answer)
    return {function.__name__: function for function in functions} | {"eval": eval_in_check}


def _fresh(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {"__name__": "__main__"} | dict(variables)


def _variables(scope: Mapping[str, Any]) -> dict[str, Any]:
    """What a check has of its own: no modules, and no functions or classes of one. An answer must import those."""
    return {
        name: each
        for name, each in scope.items()
        if name != "code" and not name.startswith("__") and not _is_imported(each)
    }


def _is_imported(each: Any) -> bool:
    if isinstance(each, ModuleType):
        return True
    return callable(each) and getattr(each, "__module__", None) != "__main__"


def _outcome(code: str, names: dict[str, Any]) -> Any:
    tree = ast.parse(code)
    scope = _fresh(copy.deepcopy(names))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<answer>", "exec"), scope)
    outcome = (
        eval(compile(ast.Expression(last.value), "<answer>", "eval"), scope) if isinstance(last, ast.Expr) else None
    )
    changed = [scope[name] for name in names if scope[name] != names[name]]
    if changed:
        return changed[0] if len(changed) == 1 else tuple(changed)
    if outcome is not None:
        return outcome
    bound = [name for node in tree.body for name in _bound(node)]
    return scope[bound[-1]] if bound else None


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement defines or assigns. Loop variables and imports don't count."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets: list[ast.expr] = []
    for each in ast.walk(node):
        if isinstance(each, ast.Assign):
            targets += each.targets
        elif isinstance(each, ast.AnnAssign | ast.AugAssign):
            targets.append(each.target)
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def _call(function: Any, names: dict[str, Any]) -> Any:
    """The function's value for these arguments. If it has none: the one argument that it changed."""
    arguments = copy.deepcopy(names)
    parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
    if set(parameters) <= set(names):
        outcome = function(**{name: arguments[name] for name in parameters})
    else:
        outcome = function(*list(arguments.values())[: len(parameters)])
    changed = [arguments[name] for name in names if arguments[name] != names[name]]
    return changed[0] if outcome is None and len(changed) == 1 else outcome
