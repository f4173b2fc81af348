"""Check in the background of other work."""

import threading

import pytest

from framecache._ingest.extraction import BackgroundCheck


class Check:
    """Check that counts its calls, waits until it may proceed, and raises a given error."""

    def __init__(self) -> None:
        self.calls = 0
        self.may_go_on = threading.Event()
        self.error: Exception | None = None

    def __call__(self) -> None:
        self.calls += 1
        assert self.may_go_on.wait(60)
        if self.error is not None:
            raise self.error


@pytest.fixture
def check() -> Check:
    return Check()


def test_nobody_waits_for_the_first_answer(check: Check) -> None:
    with BackgroundCheck(check) as beside:
        beside()
        check.may_go_on.set()
    assert check.calls == 1


def beside(check: Check, *, calls: int, then: Exception | None = None) -> None:
    """Run a check during some work, let it proceed, and end the work with or without an error."""
    with BackgroundCheck(check) as called:
        for _ in range(calls):
            called()
            check.may_go_on.set()
        if then is not None:
            raise then


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_what_a_check_raises_is_raised_by_the_next_or_at_the_end(check: Check, calls: int) -> None:
    check.error = ConnectionError("gone")
    with pytest.raises(ConnectionError, match="gone"):
        beside(check, calls=calls)
    assert check.calls == 1


def test_an_error_of_the_work_comes_before_that_of_a_check(check: Check) -> None:
    check.error = ConnectionError("gone")
    with pytest.raises(ValueError, match="the work"):
        beside(check, calls=1, then=ValueError("the work"))


def test_each_call_is_a_check_of_its_own(check: Check) -> None:
    beside(check, calls=3)
    assert check.calls == 3


def test_what_never_began_raises_nothing(check: Check) -> None:
    with BackgroundCheck(check):
        pass
    assert check.calls == 0
