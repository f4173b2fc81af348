"""The check of the project's language, on small pieces of text."""

from pathlib import Path

import pytest
from check_language import (
    WORDS,
    Passage,
    check,
    find_words,
    is_bad_opening,
    main,
    parse_rules,
    read_comments,
    read_python,
    read_typescript,
)

RULES = parse_rules("# a comment\n\nanew -> again\nin the midst -> inside\nclaims? -> lease\n")


def words(text: str) -> list[tuple[int, str, str]]:
    return list(find_words(Passage(5, text), RULES))


def test_word_is_found_with_its_line_and_advice() -> None:
    assert words("Begin.\nDo it Anew.") == [(6, "Anew", "again")]


def test_phrase_is_found_across_a_line_break() -> None:
    assert words("It ends in the\n    midst of a chunk.") == [(5, "in the midst", "inside")]


@pytest.mark.parametrize(
    "text",
    [
        "renewal",
        "Call `claim` first.",
        "Call ``claims.take``.",
        "```\nclaim\n```",
        "`framecache._index.lease`, claims.take and claims/1.json",
        "claim_key, claim(part) and --claim",
        "See https://example.com/claim.",
        "See [this](claim.md).",
        "Args:\n    claims: the leases of this run.",
    ],
)
def test_code_and_names_are_not_checked_as_prose(text: str) -> None:
    assert words(text) == []


def test_rule_without_advice_is_refused() -> None:
    with pytest.raises(ValueError, match="anew"):
        parse_rules("anew")


def test_python_docstrings_comments_and_messages_are_read() -> None:
    source = '''"""The module."""
import re  # one
# two
# three

x = f"no {re} of it" "second part"
y = "identifier"
"""A description of y."""

def f():
    """Return nothing."""
'''
    passages = sorted(read_python(source), key=lambda one: one.line)
    assert [(one.line, one.text, one.is_docstring) for one in passages] == [
        (1, "The module.", True),
        (2, "one\ntwo\nthree", False),
        (6, "no {} of itsecond part", False),
        (8, "A description of y.", True),
        (11, "Return nothing.", True),
    ]
    assert len(list(read_python(source, strings=False))) == 4


def test_typescript_comments_messages_and_markup_are_read() -> None:
    source = "// one\na = `two of ${b.c}`;\nb = 'three';\n<p>Some text</p>;\n/** x */"
    assert [(one.line, one.text) for one in read_typescript(source)] == [
        (1, "// one"),
        (2, "two of {}"),
        (4, "Some text"),
        (5, "/** x */"),
    ]


def test_comments_of_other_files_are_read() -> None:
    found = [(one.line, one.text) for one in read_comments("a: ## Do it\n\tb#c\n# Note\n")]
    assert found == [(1, "Do it"), (3, "Note")]


@pytest.mark.parametrize(
    ("docstring", "is_bad"),
    [("What it is.", True), ("Of all.", True), ("Whatever.", False), ("Return it.", False)],
)
def test_docstring_opening_is_checked_by_its_first_word(docstring: str, *, is_bad: bool) -> None:
    assert is_bad_opening(docstring) == is_bad


@pytest.mark.parametrize(("good", "found"), [(98, 1), (99, 0)])
def test_one_bad_opening_in_a_hundred_is_allowed(tmp_path: Path, good: int, found: int) -> None:
    functions = [f'def f{number}():\n    """Return."""\n' for number in range(good)]
    (tmp_path / "a.py").write_text('"""What it is."""\n' + "".join(functions))
    assert len(check([tmp_path], RULES)) == found


def test_files_of_a_folder_are_checked_except_generated_ones(tmp_path: Path) -> None:
    for name in ("a.py", "b.md", "openapi.d.ts", "c.bin", "node_modules/d.ts", "tests/e.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 'do it anew'  # anew\n")
    found = [line.removeprefix(f"{tmp_path}/") for line in check([tmp_path], RULES)]
    assert found == [
        "a.py:1: anew: again",
        "a.py:1: anew: again",
        "b.md:1: anew: again",
        "b.md:1: anew: again",
        "tests/e.py:1: anew: again",
    ]


def test_exit_status_is_1_if_a_word_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("Plain.\n")
    assert main([str(page)]) == 0
    assert capsys.readouterr().out == ""
    page.write_text("Do it anew.\n")
    assert main([str(page)]) == 1
    assert capsys.readouterr().out == f"{page}:1: anew: again\n"


def test_every_rule_of_the_word_list_compiles_and_has_advice() -> None:
    rules = parse_rules(WORDS.read_text())
    assert len(rules) > 50
    assert all(rule.advice for rule in rules)
