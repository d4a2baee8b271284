"""The code of a Python file without its words, to tell whether its behavior may have changed."""

import ast


def code_of(source: str) -> str:
    """Return `source` in a normal form without comments, docstrings, annotations and layout.

    A hash of it stays the same when a file is only reworded or reformatted.
    """
    return ast.unparse(_Stripped().visit(ast.parse(source)))


class _Stripped(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        # Not removed, because a body must not be empty.
        return ast.Pass() if is_text else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)
