"""The text of a MATPOWER case file, cut into statements of tokens.

Every character is looked at once or twice: comments, continuation lines and texts
are recognised by hand, all else by one expression without nested repetition.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_TOKENS = 1_000_000
"""Words of a file outside plain matrices, which count as one; names of 82 000 buses are some 250 000."""
TOKEN = re.compile(
    r"(?P<space>[ \t\r\f\v]+)"
    r"|(?P<number>(?:\d+(?:\.(?![*/^\\'.])\d*)?|\.\d+)(?:[eEdD][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z]\w*)"
    r"|(?P<operator>\.[*/^\\']|[=~<>]=|&&|\|\||[-+*/\\^=<>&|~:;,.(){}\[\]'@])"
    r"|(?P<newline>\n)",
    re.ASCII,
)
QUOTED = {"'": re.compile(r"'[^'\n]*(?:''[^'\n]*)*'"), '"': re.compile(r'"[^"\n]*(?:""[^"\n]*)*"')}
PLAIN = re.compile(r"[0-9eE.+\-,; \t\rInfNa]*")
"""What a line of a matrix of numbers, Inf and NaN consists of."""
CLOSING = {")": "(", "]": "[", "}": "{"}


class StatementError(Exception):
    """Something in the text is not understood; the reader of the file adds the name of the file."""

    def __init__(self, what: str, line: int, *, expected: str = "", got: str = "", do: str = "") -> None:
        super().__init__(what)
        self.what, self.line, self.expected, self.got, self.do = what, line, expected, got, do


class Matrix(NamedTuple):
    """Numbers of a matrix and the line of the file where each row stands."""

    values: NDArray[np.float64]
    lines: list[int]


class Token(NamedTuple):
    """One word of the text."""

    kind: str
    """number, name, operator, newline, text or matrix"""
    text: str
    line: int
    spaced: bool
    """Whether white space stands before it, which separates the elements of a matrix."""
    matrix: Matrix | None = None


def read_statements(text: str) -> Iterator[list[Token]]:
    """Statements of a MATLAB text, each with at least one token.

    Raises
    ------
    StatementError
        At a character, text or bracket that does not belong there.
    """
    return _split(_Scanner(text).scan())


def _split(tokens: list[Token]) -> Iterator[list[Token]]:
    statement: list[Token] = []
    opened: list[Token] = []
    for token in tokens:
        _follow_brackets(token, opened)
        if not opened and (token.kind == "newline" or (token.kind == "operator" and token.text in ";,")):
            if statement:
                yield statement
            statement = []
        else:
            statement.append(token)
    if opened:
        raise StatementError("a bracket is not closed", opened[-1].line, got=opened[-1].text)
    if statement:
        yield statement


def _follow_brackets(token: Token, opened: list[Token]) -> None:
    """Keep the list of open brackets."""
    if token.kind == "newline" and opened and opened[-1].text == "(":
        raise StatementError("a bracket is not closed", opened[-1].line, got="(")
    if token.kind != "operator":
        return
    if token.text in CLOSING.values():
        opened.append(token)
    elif token.text in CLOSING:
        if not opened or opened[-1].text != CLOSING[token.text]:
            raise StatementError("a bracket is closed that was not opened", token.line, got=token.text)
        opened.pop()


class _Scanner:
    """Text to tokens, from the first character to the last."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.line = 1
        self.spaced = False
        self.tokens: list[Token] = []

    def scan(self) -> list[Token]:
        """All tokens of the text."""
        while self.position < len(self.text):
            self._step()
            if len(self.tokens) > MOST_TOKENS:
                raise StatementError("the file is too long", self.line, expected=f"at most {MOST_TOKENS} words")
        return self.tokens

    def _step(self) -> None:
        character = self.text[self.position]
        if character in "%#":
            self._skip_comment()
        elif character == '"' or (character == "'" and not self._follows_value()):
            self._read_text(character)
        elif character == "." and self.text.startswith("...", self.position):
            self._skip_line()
            self.spaced = True
        elif not (character == "[" and self._read_plain_matrix()):
            self._read_token()

    def _add(self, kind: str, text: str, matrix: Matrix | None = None) -> None:
        self.tokens.append(Token(kind, text, self.line, self.spaced, matrix))
        self.spaced = False

    def _follows_value(self) -> bool:
        """Whether a quote at this place transposes what stands before it."""
        if self.spaced or not self.tokens:
            return False
        last = self.tokens[-1]
        return last.kind in ("number", "name", "matrix") or last.text in (")", "]", "}", "'", ".'")

    def _skip_line(self) -> None:
        """To the first character of the next line."""
        end = self.text.find("\n", self.position)
        self.position = len(self.text) if end < 0 else end + 1
        self.line += 1

    def _skip_comment(self) -> None:
        if not self._at_block_mark("{"):
            end = self.text.find("\n", self.position)
            self.position = len(self.text) if end < 0 else end
            return
        first, depth = self.line, 0
        while self.position < len(self.text):
            depth += self._at_block_mark("{") - self._at_block_mark("}")
            self._skip_line()
            if depth == 0:
                return
        raise StatementError("a block comment is not closed", first, expected="a line with %} alone")

    def _at_block_mark(self, bracket: str) -> bool:
        """Whether this line holds nothing but the mark of a block comment."""
        start = self.text.rfind("\n", 0, self.position) + 1
        end = self.text.find("\n", self.position)
        line = self.text[start : len(self.text) if end < 0 else end].strip()
        return line in (f"%{bracket}", f"#{bracket}")

    def _read_text(self, quote: str) -> None:
        match = QUOTED[quote].match(self.text, self.position)
        if match is None:
            raise StatementError("a text is not closed", self.line)
        self._add("text", match.group()[1:-1].replace(quote * 2, quote))
        self.position = match.end()

    def _read_token(self) -> None:
        match = TOKEN.match(self.text, self.position)
        if match is None or match.lastgroup is None:
            raise StatementError("a character is not understood", self.line, got=repr(self.text[self.position]))
        self.position = match.end()
        if match.lastgroup == "space":
            self.spaced = True
            return
        if match.lastgroup == "number" and re.match(r"\w|\.\d", self.text[self.position : self.position + 2]):
            got = match.group()[:40] + self.text[self.position : self.position + 2]
            raise StatementError("a number is malformed", self.line, got=got)
        self._add(match.lastgroup, match.group())
        self.line += match.lastgroup == "newline"

    def _read_plain_matrix(self) -> bool:
        """A matrix that holds nothing but numbers, as nearly all of a case does; False leaves it to the tokens."""
        numbers, lines, width = array("d"), list[int](), 0
        line, position = self.line, self.position + 1
        while True:
            end = PLAIN.match(self.text, position).end()  # type: ignore[union-attr]  # it also matches nothing
            for row in self.text[position:end].replace(",", " ").split(";"):
                cells = row.split()
                try:
                    numbers.extend(map(float, cells))
                except ValueError:
                    return False
                lines += [line] if cells else []
                width = width or len(cells)
                if cells and len(cells) != width:
                    return False
            position = self._next_plain_line(end)
            if position < 0:
                break
            line += 1
        if self.text[end : end + 1] != "]":
            return False
        self._add("matrix", "[", Matrix(np.array(numbers).reshape(len(lines), width), lines))
        self.position, self.line = end + 1, line
        return True

    def _next_plain_line(self, end: int) -> int:
        """Start of the line after the one whose numbers end here; -1 if something else than a comment follows."""
        stop = self.text[end : end + 1]
        if stop == "%" and not self.text.startswith("%{", end):
            end = self.text.find("\n", end)
            return end + 1 if end >= 0 else -1
        return end + 1 if stop == "\n" else -1
