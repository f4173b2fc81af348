"""Properties that are computed once, without a lock that a forked process could inherit."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

Value = TypeVar("Value")


class lock_free_cached_property(Generic[Value]):  # noqa: N801 -- a decorator, as `property` is
    """Property that is computed at its first access, and then cached.

    Concurrent threads may each compute it; all get the value that was stored first. Before Python
    3.12, `functools.cached_property` holds a lock of the whole class meanwhile. In a process that
    is forked at that time, the lock stays locked forever, held by a thread that does not exist.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        """Wrap the method that computes the value."""
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, holder: None, owner: type) -> Self: ...

    @overload
    def __get__(self, holder: object, owner: type) -> Value: ...

    def __get__(self, holder: object, owner: type) -> Self | Value:
        """Compute the value and store it as an instance attribute, which Python finds first."""
        if holder is None:
            return self
        value: Value = vars(holder).setdefault(self._name, self._compute(holder))
        return value
