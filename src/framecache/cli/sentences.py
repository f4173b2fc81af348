"""Formatting of messages as sentences. It imports almost nothing, because it is loaded first."""

import re
from typing import Final

# Anything that could be a name, such as that of a file or a timeline, keeps its case: only plain
# words are followed by these characters.
_FIRST_WORD: Final = re.compile(r"[a-z]+(?=[ ,;]|[.!?]?\Z)|(warning|note)(?=: )")
_COMMANDS: Final = ("framecache ", "pip install ")
_COMMAND_INTRODUCTIONS: Final = (":", "see")
"""Strings that introduce a command at the end of a message."""


def escape_unprintable(text: str) -> str:
    """Return the text in one line, with control characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def to_sentence(text: str) -> str:
    """Return the text in one line, with an initial capital and a period.

    There is no period after a command, so that it can be copied, and no capital at the start of a
    name.
    """
    line = escape_unprintable(text)
    begun = line[0].upper() + line[1:] if _FIRST_WORD.match(line) else line
    has_stop = begun.endswith((".", "?", "!", "…"))
    return begun if has_stop or ends_in_command(begun) else f"{begun}."


def ends_in_command(text: str) -> bool:
    """Return whether a message ends in a command to copy, after which nothing may follow."""
    endings = [text.rpartition(f"{lead} ")[2] for lead in _COMMAND_INTRODUCTIONS]
    return any(ending.startswith(_COMMANDS) for ending in endings)
