"""A check that runs during other work."""

import threading

import pytest

from framecache._core.threads import BackgroundCheck


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


def test_call_does_not_wait_for_the_first_check(check: Check) -> None:
    with BackgroundCheck(check) as run_beside:
        run_beside()
        check.may_go_on.set()
    assert check.calls == 1


def run_beside(check: Check, *, calls: int, then: Exception | None = None) -> None:
    """Run a check during some work, let it proceed, and end the work with or without an error."""
    with BackgroundCheck(check) as called:
        for _ in range(calls):
            called()
            check.may_go_on.set()
        if then is not None:
            raise then


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_check_error_is_raised_by_the_next_call_or_at_exit(check: Check, calls: int) -> None:
    check.error = ConnectionError("gone")
    with pytest.raises(ConnectionError, match="gone"):
        run_beside(check, calls=calls)
    assert check.calls == 1


def test_work_error_takes_precedence_over_check_error(check: Check) -> None:
    check.error = ConnectionError("gone")
    with pytest.raises(ValueError, match="the work"):
        run_beside(check, calls=1, then=ValueError("the work"))


def test_each_call_runs_one_check(check: Check) -> None:
    run_beside(check, calls=3)
    assert check.calls == 3


def test_exit_without_calls_runs_no_check(check: Check) -> None:
    with BackgroundCheck(check):
        pass
    assert check.calls == 0
