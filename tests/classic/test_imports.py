"""The chapter can be read without the rest of the library: it imports none of it but the tokenizer."""

import ast
import sys
from pathlib import Path

import pytest

from tinygpt import classic

FILES = sorted(Path(classic.__file__).parent.glob("*.py"))
ALLOWED = {*sys.stdlib_module_names, "torch", "tinygpt.classic", "tinygpt.data.tokenizer"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_imports_torch_and_the_tokenizer_alone(path: Path) -> None:
    imported = {name for node in ast.walk(ast.parse(path.read_text())) for name in imports(node)}
    allowed = ALLOWED | {"rich"} if path.name == "__main__.py" else ALLOWED

    assert {
        name for name in imported if not any(name == known or name.startswith(f"{known}.") for known in allowed)
    } == set()


def imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0
        return [node.module or ""]
    return []
