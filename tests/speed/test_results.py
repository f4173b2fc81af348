"""Verdicts that are derived from measured seconds."""

from collections.abc import Mapping, Sequence

import pytest

from benchmarks.model import Aim, Contestant, Entry, Kind, Measured, Task
from benchmarks.results import task_result, verdict
from benchmarks.tasks import TASKS


def entry(
    name: str,
    kind: Kind,
    seconds: Sequence[float],
    *,
    failure: str = "",
    figures: Mapping[str, float] | None = None,
) -> Entry:
    rounds = [Measured(100, each, 2 * each, 0.5 * each, 0.0, figures or {}) for each in seconds]
    return Entry(Contestant(name, kind, "module:job"), rounds=rounds, failure=failure)


def test_ratio_is_the_median_of_ratios_within_a_round() -> None:
    # One slow round of the machine strikes both, and must not count.
    entries = [entry("us", "ours", [1.0, 10.0, 1.0]), entry("them", "peer", [2.0, 20.0, 2.5])]
    found = verdict(Aim("them", at_least=2.0, against=("them",)), entries)
    assert found.figure == pytest.approx(2.0)
    assert found.is_met


def test_partial_run_is_scaled_to_all_parts() -> None:
    entries = [entry("us", "ours", [1.0]), entry("them", "plain", [2.0], figures={"parts": 5})]
    found = verdict(Aim("them", at_least=30.0, against=("them",)), entries)
    assert found.figure == pytest.approx(10.0)


def test_aim_against_several_compares_with_the_best_that_finished() -> None:
    entries = [
        entry("us", "ours", [1.0]),
        entry("slow", "peer", [9.0]),
        entry("fast", "peer", [3.0]),
        entry("broken", "peer", [0.1], failure="it broke"),
    ]
    names = ("slow", "fast", "broken", "absent")
    found = verdict(Aim("them", at_least=4.0, against=names), entries)
    assert found.figure == pytest.approx(3.0)
    assert (found.against, found.is_met) == ("fast", False)


def test_aim_without_measured_peer_is_not_measured() -> None:
    entries = [entry("us", "ours", [1.0]), entry("them", "peer", [], failure="not installed")]
    found = verdict(Aim("them", at_least=1.0, against=("them",)), entries)
    assert (found.figure, found.is_met) == (None, False)


def test_aim_for_own_figure_is_an_upper_bound() -> None:
    entries = [entry("us", "ours", [1.0, 1.0], figures={"open_s": 0.4})]
    assert verdict(Aim("s", at_most=0.5, measure="open_s"), entries).is_met
    assert not verdict(Aim("s", at_most=0.3, measure="open_s"), entries).is_met


def test_result_has_medians_per_frame_and_fraction_of_the_limit() -> None:
    ours, limit = entry("us", "ours", [2.0, 4.0, 2.0]), entry("limit", "limit", [1.0, 1.0, 1.0])
    task = Task("task", "Task", [limit.contestant, ours.contestant])
    _, found = task_result(task, [limit, ours])["contestants"]
    assert found["frames_per_second"] == pytest.approx(50.0)
    assert found["of_the_limit"] == pytest.approx(0.5)
    assert found["figures"]["cpu_ms"] == pytest.approx(40.0)
    assert found["figures"]["server_cpu_ms"] == pytest.approx(10.0)


def test_task_names_are_unique_and_aims_name_their_contestants() -> None:
    assert len({task.name for task in TASKS}) == len(TASKS)
    for task in TASKS:
        names = {contestant.name for contestant in task.contestants}
        assert len(names) == len(task.contestants), task.name
        assert names.issuperset(name for aim in task.aims for name in aim.against), task.name
        first, *variations = (one.name for one in task.contestants if one.kind == "ours")
        assert all(name.startswith(f"{first}, ") for name in variations), task.name
