"""Extension of Griffe: reads docstrings and decorators of framecache as they are meant.

- Sphinx roles become code, which is how they read in an editor, too.
- A property that is computed once is an attribute.
"""

import re
from typing import Any

import griffe

ROLE = re.compile(r":[a-z]+:`~?\.?([^`]+)`")


class FramecacheDocstrings(griffe.Extension):  # type: ignore[misc]
    """Rewrite the package once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:  # noqa: ANN401 -- not ours
        """Rewrite every module, class and function."""
        rewrite(pkg)


def rewrite(thing: griffe.Object) -> None:
    """Rewrite an object and its members."""
    if thing.docstring:
        thing.docstring.value = ROLE.sub(r"`\1`", thing.docstring.value)
    for name, member in [*thing.members.items()]:
        if member.is_alias:
            continue
        if isinstance(member, griffe.Function) and is_computed_once(member):
            thing.set_member(name, attribute_of(member))
        rewrite(thing.members[name])


def is_computed_once(function: griffe.Function) -> bool:
    """Return True if a function is a `lock_free_cached_property` of the library."""
    "`framecache._core.cached_property.lock_free_cached_property`."
    return any(str(one.value).endswith("lock_free_cached_property") for one in function.decorators)


def attribute_of(function: griffe.Function) -> griffe.Attribute:
    """Return a computed property as the attribute that it is to a caller."""
    attribute = griffe.Attribute(
        function.name,
        annotation=function.returns,
        docstring=function.docstring,
        lineno=function.lineno,
        endlineno=function.endlineno,
        parent=function.parent,
    )
    attribute.labels |= {"property"}
    return attribute
