"""Contents and frequency of log lines."""

import logging

import pytest

from framecache.server import logs


def record(message: str, error: Exception | None = None) -> logging.LogRecord:
    raised = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("uvicorn.error", 40, __file__, 1, message, (), raised)


def test_duplicate_filter_passes_repeated_message_once() -> None:
    seldom = logs.DuplicateFilter()
    assert [seldom.filter(record("a")) for _ in range(3)] == [True, False, False]


def test_duplicate_filter_passes_same_message_with_another_exception() -> None:
    seldom = logs.DuplicateFilter()
    assert seldom.filter(record("failed", ValueError()))
    assert not seldom.filter(record("failed", ValueError()))
    assert seldom.filter(record("failed", KeyError()))


def test_throttle_counts_suppressed_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_THROTTLE_SECONDS", 0.5)
    repeats = logs.Throttle()
    counts = [repeats.count_suppressed("a")]
    while len([one for one in counts if one is not None]) < 2:
        counts.append(repeats.count_suppressed("a"))
    assert counts[0] == 0
    assert counts[-1] == len(counts) - 2


def test_throttle_remembers_limited_number_of_messages() -> None:
    repeats = logs.Throttle()
    for number in range(5000):
        assert repeats.count_suppressed(f"message {number}") == 0
    assert len(repeats) <= 1000
