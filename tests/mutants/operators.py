"""Which mutations are made: Cosmic Ray's own that a person might type by mistake, and two more.

Of Cosmic Ray's operators each arithmetic one has one replacement, not eleven, and the union of types (`int | None`) has
none. The two more delete a statement, and drop a keyword argument: a call that is forgotten, a setting that is not
passed on.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import OPERATOR_PROVIDERS, operator_names
from parso.python.tree import Keyword, Name
from parso.tree import NodeOrLeaf

Position = tuple[int, int]

_CHOSEN = """
AddNot ExceptionReplacer NumberReplacer ReplaceAndWithOr ReplaceOrWithAnd ReplaceTrueWithFalse ReplaceFalseWithTrue
ReplaceBreakWithContinue ReplaceContinueWithBreak ZeroIterationForLoop
ReplaceBinaryOperator_Add_Sub ReplaceBinaryOperator_Sub_Add ReplaceBinaryOperator_Mul_Div ReplaceBinaryOperator_Div_Mul
ReplaceBinaryOperator_FloorDiv_Mul ReplaceBinaryOperator_Mod_Mul ReplaceBinaryOperator_Pow_Mul
ReplaceBinaryOperator_LShift_RShift ReplaceBinaryOperator_RShift_LShift ReplaceBinaryOperator_BitAnd_BitOr
ReplaceComparisonOperator_Eq_NotEq ReplaceComparisonOperator_NotEq_Eq ReplaceComparisonOperator_Lt_LtE
ReplaceComparisonOperator_LtE_Lt ReplaceComparisonOperator_Gt_GtE ReplaceComparisonOperator_GtE_Gt
ReplaceComparisonOperator_Is_IsNot ReplaceComparisonOperator_IsNot_Is
ReplaceUnaryOperator_Delete_Not ReplaceUnaryOperator_USub_UAdd ReplaceUnaryOperator_Delete_USub
"""


class DeleteStatement(Operator):  # type: ignore[misc]
    """A call whose result is not used, or a change of something that exists, becomes `pass`. Not what logs."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[tuple[Position, Position]]:
        if self._is_effect(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:  # noqa: ARG002
        return Keyword("pass", node.start_pos, node.get_first_leaf().prefix)

    @staticmethod
    def _is_effect(node: NodeOrLeaf) -> bool:
        if node.parent is None or node.parent.type != "simple_stmt":
            return False
        code = node.get_code(include_prefix=False)
        if node.type == "atom_expr":
            return bool(code.endswith(")") and not code.startswith("log."))
        if node.type == "expr_stmt":
            changes_in_place = node.children[1].type == "operator" and node.children[1] != "="
            return bool(node.children[0].type == "atom_expr" or changes_in_place)
        return bool(node.type == "del_stmt")

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class DropKeywordArgument(Operator):  # type: ignore[misc]
    """`f(a, b=c)` becomes `f(a)`: written `f(a, **{})`, which is the same. Not of calls that log."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[tuple[Position, Position]]:
        if node.type == "argument" and node.children[1] == "=" and not _in_call_of_log(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:  # noqa: ARG002
        return Name("**{}", node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


def _in_call_of_log(node: NodeOrLeaf) -> bool:
    call = node
    while call is not None and call.type != "atom_expr":
        call = call.parent
    return bool(call is not None and call.get_code(include_prefix=False).startswith("log."))


class _Own:
    """A provider of operators, as Cosmic Ray's plugins are."""

    _operators: Mapping[str, Any] = {"DeleteStatement": DeleteStatement, "DropKeywordArgument": DropKeywordArgument}

    def __iter__(self) -> Iterator[str]:
        return iter(self._operators)

    def __getitem__(self, name: str) -> Any:
        return self._operators[name]


def register() -> frozenset[str]:
    """Make the own operators known to Cosmic Ray. Returns the names of all operators to use."""
    OPERATOR_PROVIDERS["own"] = _Own()
    wanted = {f"core/{name}" for name in _CHOSEN.split()} | {f"own/{name}" for name in _Own()}
    unknown = wanted - set(operator_names())
    if unknown:
        raise ValueError(f"this version of Cosmic Ray has no {', '.join(sorted(unknown))}")
    return frozenset(wanted)
