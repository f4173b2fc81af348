"""Check the prose of this project against the word list in ``language.txt``.

python scripts/check_language.py [PATH ...]      files or folders; by default the folders in CHECKED

Reads Markdown pages, docstrings, comments, and the messages in Python and TypeScript. Prints
``file:line: word: advice`` for each word of the list that it finds, and then exits with status 1.
Code in backticks is not read, so identifiers may contain words that prose must not use. At most
1 % of the docstrings may open with a question word, such as What or Whether.
"""

import argparse
import ast
import re
import sys
import tokenize
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
WORDS: Final = Path(__file__).with_name("language.txt")
CHECKED: Final = (
    *("src", "tests", "scripts", "benchmarks", "examples", "viewer/src"),
    *("hatch_build.py", "Makefile", "pyproject.toml", "docs"),
    *("README.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "RELEASING.md"),
    "SECURITY.md",
)
NOT_OURS: Final = (
    "docs/performance.md",  # names contestants as its results do
    "node_modules",
    "__pycache__",
    "openapi.d.ts",
    "framecache/server/viewer/",
    "tests/cli/help/",
)
PROSE_ONLY: Final = frozenset({"tests", "benchmarks"})  # strings there are data, or kept as results
OPENINGS: Final = frozenset({"What", "Whether", "Who", "Where", "How", "Of"})
MOST_OPENINGS: Final = 0.01  # of all docstrings
_OPENING_ADVICE: Final = "open the docstring with an imperative or a noun phrase"
LITERAL: Final = re.compile(  # code, URLs, targets of links, names of arguments
    r"```.*?```|``.*?``|`[^`\n]*(?:\n[^`\n]+)?`|\b\w+://\S+|\]\([^)]*\)|^ +\w+(?=: )",
    re.DOTALL | re.MULTILINE,
)
TYPESCRIPT: Final = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\\n]|\\.)*`)
      | (?<=>)(?P<text>[^<>{}()=;]+)(?=[<{])""",
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Rule:
    """A word or regular expression that prose must not use, and the advice on it."""

    pattern: re.Pattern[str]
    advice: str


@dataclass(frozen=True)
class Passage:
    """A piece of prose, and the line of its file on which it begins."""

    line: int
    text: str
    is_docstring: bool = False


def parse_rules(text: str) -> list[Rule]:
    """Parse a word list: ``word or regular expression -> advice`` a line, ``#`` for comments."""
    rules = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            word, arrow, advice = line.partition(" -> ")
            if not arrow:
                message = f"no ' -> ' in the word list's line {line!r}"
                raise ValueError(message)
            spaced = r"\s+".join(word.split())
            pattern = rf"(?<![\w./])(?<!--)(?:{spaced})(?![\w/(]|\.\w)"
            rules.append(Rule(re.compile(pattern, re.IGNORECASE), advice.strip()))
    return rules


def find_words(passage: Passage, rules: Sequence[Rule]) -> Iterator[tuple[int, str, str]]:
    """Find the words of a passage that rules name, each with its line and advice."""
    text = LITERAL.sub(lambda code: "`" + "\n" * code.group().count("\n"), passage.text)
    for rule in rules:
        for match in rule.pattern.finditer(text):
            line = passage.line + text.count("\n", 0, match.start())
            yield line, " ".join(match.group().split()), rule.advice


def read_python(source: str, *, strings: bool = True) -> Iterator[Passage]:
    """Read docstrings, comments and, unless told otherwise, strings with a space."""
    yield from _read_python_comments(source)
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:  # a string after an attribute describes it
                match statement:
                    case ast.Expr(value=ast.Constant(value=str(text)) as constant):
                        docstrings.add(constant)
                        yield Passage(constant.lineno, text, is_docstring=True)
    if strings:
        yield from _read_python_strings(tree, docstrings)


def _read_python_comments(source: str) -> Iterator[Passage]:
    """Read comments; those on consecutive lines are one passage."""
    first, lines = 0, list[str]()
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if lines and token.start[0] != first + len(lines):
                yield Passage(first, "\n".join(lines))
                lines = []
            first = token.start[0] - len(lines)
            lines.append(token.string.lstrip("#: "))
    if lines:
        yield Passage(first, "\n".join(lines))


def _read_python_strings(tree: ast.AST, docstrings: set[ast.Constant]) -> Iterator[Passage]:
    parts = set[ast.AST]()  # the strings in an f-string are read as one
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts.update(node.values)
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = "" if node in docstrings or node in parts else node.value
        else:
            continue
        if " " in text.strip():
            yield Passage(node.lineno, text.replace("\n", " "))


def read_typescript(source: str) -> Iterator[Passage]:
    """Read comments, strings with a space, and the text between tags."""
    for match in TYPESCRIPT.finditer(source):
        text = match.group()
        if match["comment"] or " " in text.strip():
            if match["string"]:
                text = re.sub(r"\$\{[^}]*\}", "{}", text.strip("`"))
            yield Passage(source.count("\n", 0, match.start()) + 1, text)


def read_comments(source: str) -> Iterator[Passage]:
    """Read what follows ``# `` or ``## `` on each line, as in Makefiles, shell and TOML."""
    for number, line in enumerate(source.splitlines(), start=1):
        if match := re.search(r"(?:^|\s)#{1,2} (.*)", line):
            yield Passage(number, match[1])


def read_page(source: str) -> Iterator[Passage]:
    """Read a page of Markdown."""
    yield Passage(1, source)


READERS: Final[dict[str, Callable[[str], Iterator[Passage]]]] = {
    ".py": read_python,
    ".ts": read_typescript,
    ".tsx": read_typescript,
    ".md": read_page,
    ".sh": read_comments,
    ".toml": read_comments,
    ".yml": read_comments,
    ".yaml": read_comments,
    "Makefile": read_comments,
}


def is_bad_opening(docstring: str) -> bool:
    """Return True if a docstring opens with one of the words in OPENINGS."""
    first = re.match(r"\W*(\w+)", docstring)
    return first is not None and first[1] in OPENINGS


def check(paths: Sequence[Path], rules: Sequence[Rule]) -> list[str]:
    """Check files and folders; return a line for each finding."""
    found, openings, docstrings = list[str](), list[str](), 0
    for path in _files(paths):
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        words = list[tuple[int, str, str]]()
        for passage in _passages(path):
            words += find_words(passage, rules)
            docstrings += passage.is_docstring
            if passage.is_docstring and is_bad_opening(passage.text):
                first = passage.text.split()[0]
                openings.append(f"{name}:{passage.line}: {first}: {_OPENING_ADVICE}")
        found += [f"{name}:{line}: {word}: {advice}" for line, word, advice in sorted(words)]
    return found + (openings if len(openings) > MOST_OPENINGS * docstrings else [])


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        within = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (
            file
            for file in within
            if _kind(file) in READERS and not any(one in str(file) for one in NOT_OURS)
        )


def _passages(path: Path) -> Iterator[Passage]:
    source = path.read_text()
    if path.suffix == ".py" and PROSE_ONLY.intersection(path.parts):
        return read_python(source, strings=False)
    return READERS[_kind(path)](source)


def _kind(path: Path) -> str:
    return path.suffix or path.name


def main(arguments: Sequence[str]) -> int:
    """Print the findings in the given paths; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH")
    paths = parser.parse_args(arguments).paths or [ROOT / path for path in CHECKED]
    found = check([path.resolve() for path in paths], parse_rules(WORDS.read_text()))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
