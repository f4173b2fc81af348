"""Contents and frequency of log lines."""

import logging

import pytest

from framecache.server import logs


def record(message: str, error: Exception | None = None) -> logging.LogRecord:
    raised = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("uvicorn.error", 40, __file__, 1, message, (), raised)


def test_a_message_is_logged_once_a_minute() -> None:
    seldom = logs.DuplicateFilter()
    assert [seldom.filter(record("a")) for _ in range(3)] == [True, False, False]


def test_another_exception_under_the_same_message_is_logged() -> None:
    seldom = logs.DuplicateFilter()
    assert seldom.filter(record("failed", ValueError()))
    assert not seldom.filter(record("failed", ValueError()))
    assert seldom.filter(record("failed", KeyError()))


def test_what_was_kept_back_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_THROTTLE_SECONDS", 0.5)
    repeats = logs.Throttle()
    told = [repeats.count_suppressed("a")]
    while len([one for one in told if one is not None]) < 2:
        told.append(repeats.count_suppressed("a"))
    assert told[0] == 0
    assert told[-1] == len(told) - 2


def test_few_of_many_messages_are_remembered() -> None:
    repeats = logs.Throttle()
    for number in range(5000):
        assert repeats.count_suppressed(f"message {number}") == 0
    assert len(repeats) <= 1000
