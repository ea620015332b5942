"""Formulas of a MATPOWER case file, computed on arrays.

Elementwise arithmetic, a few functions, matrices, and rows and columns picked by
number, list, range or `:`. Precedence and the meaning of white space inside square
brackets are MATLAB's; quotients of matrices and complex results are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridtwin.grid.matpower_text import Matrix, StatementError, Token

Array = NDArray[np.float64]
DEEPEST = 30
"""Nested brackets of a formula."""
MOST_ELEMENTS = 5_000_000
"""Elements of one computed matrix."""
MOST_WORK = 500_000_000
"""Elements that all formulas of a file may compute together."""
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    ".*": np.multiply,
    "/": np.divide,
    "./": np.divide,
    "^": np.power,
    ".^": np.power,
}
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "abs": np.abs,
}
CONSTANTS = {"pi": math.pi, "Inf": math.inf, "inf": math.inf, "NaN": math.nan, "nan": math.nan}
DO = "Write the numbers into the matrices, or use formulas that work element by element."


@dataclass(frozen=True)
class Unread:
    """A value that was not understood, and why; only its use is an error."""

    reason: StatementError


Value = Array | str | Unread


@dataclass
class Workspace:
    """What the statements of a file have assigned so far."""

    case: str = "mpc"
    """Name of the variable that holds the case."""
    name: str = ""
    """Name of the function, which is the name of the case."""
    variables: dict[str, Value] = field(default_factory=dict)
    fields: dict[str, Value] = field(default_factory=dict)
    lines: dict[str, list[int]] = field(default_factory=dict)
    """Line of every row of the fields that were written as a matrix."""
    finished: bool = False
    work: int = 0

    def spend(self, shape: tuple[int, ...], line: int) -> None:
        """Count a computed matrix; refuse what would fill the memory or never end."""
        size = math.prod(shape)
        self.work += size
        if size > MOST_ELEMENTS or self.work > MOST_WORK:
            raise StatementError("the file computes too much", line, got=f"{size} elements")


class Expression:
    """One formula, computed while it is read (precedence as in MATLAB)."""

    def __init__(self, tokens: list[Token], workspace: Workspace) -> None:
        line = tokens[-1].line if tokens else 0
        self.tokens = [*tokens, Token("stop", "", line, True)]
        self.workspace = workspace
        self.at = 0
        self.depth = 0
        self.in_matrix = False
        self.sizes: list[int] = []
        """What `end` means at this place."""
        self.lines: list[int] = []
        """Lines of the rows of the matrix that was written last."""

    def value(self) -> Array:
        """The value of the whole formula."""
        value = self._range()
        self._expect_stop()
        return value

    def index_of(self, matrix: Array) -> list[NDArray[np.int64]]:
        """Rows and columns, from 0, that an index in parentheses picks."""
        index = self._arguments(matrix)
        self._expect_stop()
        return index

    def _expect_stop(self) -> None:
        token = self.tokens[self.at]
        if token.kind != "stop":
            raise StatementError("a formula is not understood", token.line, got=f"… {token.text}"[:60], do=DO)

    def _operator(self) -> str:
        """The operator that comes next, empty where another token does."""
        token = self.tokens[self.at]
        return token.text if token.kind == "operator" else ""

    def _next(self) -> Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def _expect(self, text: str) -> None:
        token = self._next()
        if token.kind != "operator" or token.text != text:
            raise StatementError("a formula is not understood", token.line, expected=text, got=token.text[:60], do=DO)

    def _range(self) -> Array:
        parts = [self._sum()]
        while self._operator() == ":" and len(parts) < 3:
            self._next()
            parts.append(self._sum())
        if len(parts) == 1:
            return parts[0]
        line = self.tokens[self.at - 1].line
        first, *middle, last = (self._scalar(part, line) for part in parts)
        step = middle[0] if middle else 1.0
        steps = (last - first) / step if step else math.nan
        if not math.isfinite(steps):
            raise StatementError("a range is not understood", line)
        count = max(math.floor(steps + 1e-9) + 1, 0)
        self.workspace.spend((count,), line)
        return first + step * np.arange(count, dtype=float).reshape(1, -1)

    def _scalar(self, value: Array, line: int) -> float:
        if value.size != 1:
            raise StatementError("a single number is expected", line, got=f"{value.shape[0]} by {value.shape[1]}")
        return float(value.item())

    def _sum(self) -> Array:
        left = self._product()
        while self._operator() in ("+", "-") and not self._starts_element():
            operator = self._next()
            left = self._compute(operator, left, self._product())
        return left

    def _starts_element(self) -> bool:
        """Whether the sign begins a new element, as in `[1 -2]`, and not a sum, as in `[1 - 2]`."""
        return self.in_matrix and self.tokens[self.at].spaced and not self.tokens[self.at + 1].spaced

    def _product(self) -> Array:
        left = self._signed()
        while self._operator() in ("*", "/", ".*", "./"):
            operator = self._next()
            right = self._signed()
            if operator.text == "/" and right.size != 1:
                raise StatementError(
                    "quotients of matrices are not computed", operator.line, got="/", do="Use ./ here."
                )
            if operator.text == "*" and 1 not in (left.size, right.size):
                left = self._multiply(operator, left, right)
            else:
                left = self._compute(operator, left, right)
        return left

    def _multiply(self, operator: Token, left: Array, right: Array) -> Array:
        """Product of two matrices."""
        if left.shape[1] != right.shape[0]:
            got = f"{left.shape} and {right.shape}"
            raise StatementError("matrices have different sizes", operator.line, got=got, do="Use .* here.")
        self.workspace.spend((*left.shape, right.shape[1]), operator.line)
        with np.errstate(all="ignore"):
            return left @ right

    def _signed(self, operand: Callable[[], Array] | None = None) -> Array:
        negative = False
        while self._operator() in ("+", "-"):
            negative ^= self._next().text == "-"
        value = (operand or self._power)()
        return -value if negative else value

    def _power(self) -> Array:
        left = self._transposed()
        while self._operator() in ("^", ".^"):
            operator = self._next()
            right = self._signed(self._transposed)
            if operator.text == "^" and (left.size, right.size) != (1, 1):
                raise StatementError("powers of matrices are not computed", operator.line, got=operator.text, do=DO)
            left = self._compute(operator, left, right)
        return left

    def _compute(self, operator: Token, left: Array, right: Array) -> Array:
        try:
            shape = np.broadcast_shapes(left.shape, right.shape)
        except ValueError:
            got = f"{left.shape} and {right.shape}"
            raise StatementError("matrices have different sizes", operator.line, got=got) from None
        self.workspace.spend(shape, operator.line)
        with np.errstate(all="ignore"):
            result: Array = OPERATIONS[operator.text](left, right)
            return self._checked(result, left + right, operator)

    def _checked(self, result: Array, operands: Array, operator: Token) -> Array:
        """No result that MATLAB would have as a complex number, or that is no number."""
        if np.any(np.isnan(result) & np.isfinite(operands)):
            raise StatementError("the result is no real number", operator.line, got=operator.text)
        return result

    def _transposed(self) -> Array:
        value = self._primary()
        while self._operator() in ("'", ".'"):
            self._next()
            value = value.T
        return value

    def _primary(self) -> Array:
        token = self._next()
        if token.kind == "number":
            return np.array([[float(token.text.replace("d", "e").replace("D", "e"))]])
        if token.matrix is not None:
            self.lines = token.matrix.lines
            return token.matrix.values
        if token.kind == "name":
            return self._named(token)
        if token.kind == "operator" and token.text in ("(", "["):
            return self._nested(token)
        what = "a text stands where a number is expected" if token.kind == "text" else "a formula is not understood"
        raise StatementError(what, token.line, got=token.text[:60], do=DO)

    def _nested(self, token: Token) -> Array:
        self.depth += 1
        if self.depth > DEEPEST:
            raise StatementError("brackets are nested too deep", token.line, expected=f"at most {DEEPEST}")
        outside, self.in_matrix = self.in_matrix, token.text == "["
        if token.text == "[":
            value, self.lines = self._matrix()
        else:
            value = self._range()
            self._expect(")")
        self.in_matrix = outside
        self.depth -= 1
        return value

    def _named(self, token: Token) -> Array:
        """A constant, a function, a variable or a field of the case, with its index."""
        name = token.text
        if name == self.workspace.case and self._operator() == ".":
            self._next()
            name = self._next().text
            value = self.workspace.fields.get(name)
        elif name == "end" and self.sizes:
            value = np.array([[float(self.sizes[-1])]])
        elif name in self.workspace.variables:
            value = self.workspace.variables[name]
        elif name in FUNCTIONS and self._operator() == "(":
            return self._call(token)
        else:
            value = np.array([[CONSTANTS[name]]]) if name in CONSTANTS else None
        if isinstance(value, Unread):
            raise value.reason
        if not isinstance(value, np.ndarray):
            raise StatementError("an unknown name stands in a formula", token.line, got=name[:60], do=DO)
        if self._operator() == "(" and not (self.in_matrix and self.tokens[self.at].spaced):
            return self._part_of(value)
        return value

    def _call(self, token: Token) -> Array:
        argument = self._nested(self._next())
        self.workspace.spend(argument.shape, token.line)
        with np.errstate(all="ignore"):
            result: Array = FUNCTIONS[token.text](argument)
        return self._checked(result, argument, token)

    def _part_of(self, matrix: Array) -> Array:
        line = self.tokens[self.at].line
        index = self._arguments(matrix)
        self.workspace.spend(tuple(len(part) for part in index), line)
        if len(index) == 2:
            return matrix[np.ix_(*index)]
        flat = matrix.ravel(order="F")[index[0]]
        return flat.reshape(1, -1) if matrix.shape[0] == 1 else flat.reshape(-1, 1)

    def _arguments(self, matrix: Array) -> list[NDArray[np.int64]]:
        """Positions that one index, or one of rows and one of columns, picks."""
        self._expect("(")
        self.depth += 1
        outside, self.in_matrix = self.in_matrix, False
        commas = self._count_commas()
        sizes = matrix.shape if commas else (matrix.size,)
        if commas > 1 or self.depth > DEEPEST:
            raise StatementError("an index is not understood", self.tokens[self.at].line, expected="(rows, columns)")
        index = []
        for place, size in enumerate(sizes):
            if place:
                self._expect(",")
            index.append(self._positions(size))
        self._expect(")")
        self.in_matrix = outside
        self.depth -= 1
        return index

    def _count_commas(self) -> int:
        """Commas up to the bracket that closes this one."""
        depth, commas, place = 0, 0, self.at
        while depth >= 0 and self.tokens[place].kind != "stop":
            text = self.tokens[place].text if self.tokens[place].kind == "operator" else " "
            depth += (text in "([{") - (text in ")]}")
            commas += depth == 0 and text == ","
            place += 1
        return commas

    def _positions(self, size: int) -> NDArray[np.int64]:
        token = self.tokens[self.at]
        if token.text == ":" and token.kind == "operator":
            self._next()
            return np.arange(size)
        self.sizes.append(size)
        wanted = self._range().ravel(order="F")
        self.sizes.pop()
        if not np.all((wanted >= 1) & (wanted <= size) & (wanted == np.floor(wanted))):
            wrong = wanted[~((wanted >= 1) & (wanted <= size) & (wanted == np.floor(wanted)))][0]
            raise StatementError("an index is out of range", token.line, expected=f"1 to {size}", got=f"{wrong:g}")
        return wanted.astype(np.int64) - 1

    def _matrix(self) -> Matrix:
        """Elements up to the closing bracket; rows end at semicolons and line ends."""
        rows: list[list[Array]] = [[]]
        lines = [self.tokens[self.at].line]
        while (token := self.tokens[self.at]).text != "]" or token.kind != "operator":
            if token.kind == "newline" or self._operator() == ";":
                self._next()
                rows.append([])
                lines.append(self.tokens[self.at].line)
            elif self._operator() == ",":
                self._next()
            else:
                rows[-1].append(self._range())
        self._next()
        return self._stack(rows, lines)

    def _stack(self, rows: list[list[Array]], lines: list[int]) -> Matrix:
        blocks: list[Array] = []
        block_lines: list[int] = []
        for row, line in zip(rows, lines, strict=True):
            elements = [element for element in row if element.size]
            if not elements:
                continue
            if len({len(element) for element in elements}) > 1:
                raise StatementError("the elements of a row have different heights", line)
            block = np.hstack(elements)
            if blocks and block.shape[1] != blocks[0].shape[1]:
                expected, got = f"{blocks[0].shape[1]} numbers as in the first row", f"{block.shape[1]}"
                raise StatementError("a row has another length", line, expected=expected, got=got)
            blocks.append(block)
            block_lines += [line] * len(block)
        if not blocks:
            return Matrix(np.empty((0, 0)), [])
        self.workspace.spend((len(block_lines), blocks[0].shape[1]), lines[0])
        return Matrix(np.vstack(blocks), block_lines)
