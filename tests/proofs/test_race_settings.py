"""Processes extract one timeline at once with different settings: one wins, others raise."""

from collections import Counter
from contextlib import ExitStack

from numbered import NumberedChunks, Truth
from numbered_clips import numbered_chunks
from workers import Contestant, Place, Worker, contend

from framecache import Timeline
from proving import Proof


def test_exactly_one_of_concurrent_extractions_with_different_settings_succeeds(
    local_url: str, proof: Proof
) -> None:
    rounds = proof.size(short=16, long=200)
    chunks = numbered_chunks(2, frames_each=2)
    contestants = [
        Contestant(chunks.paths, 1, "objects"),
        Contestant(chunks.paths, 2, "objects"),
        Contestant(chunks.paths, 1, "packs"),
        Contestant(chunks.paths[1:], 1, "objects"),
    ]
    wins = Counter[int]()
    faults: list[str] = []
    with ExitStack() as stack:
        workers = [Worker(chunks) for _ in contestants]
        for worker in workers:
            stack.callback(worker.close)
        for worker in workers:
            worker.wait_until_warm()
        for number in range(rounds):
            place = Place(local_url, f"race-{number}")
            if number % 2:
                # The manifest exists, and nothing is committed.
                place.open().extract(chunks.paths[:1])
                place.open().clear()
            # Another contestant starts first each time.
            order = [(number + later) % len(workers) for later in range(len(workers))]
            answers = {one: workers[one].start(contend, place, contestants[one]) for one in order}
            ends = {one: answer.get() for one, answer in answers.items()}
            done = [one for one, end in ends.items() if end == "done"]
            refused = [one for one, end in ends.items() if end == "SettingsConflict"]
            if len(done) != 1 or len(done) + len(refused) != len(ends):
                faults.append(f"round {number}: {ends}")
                continue
            wins[done[0]] += 1
            fault = _fault(place.open(), contestants[done[0]], chunks)
            faults += [f"round {number}, done by {done[0]}: {fault}"] if fault else []
    proof.found(
        processes=len(workers), rounds=rounds, done=wins.total(), wins=sorted(wins.values())
    )
    assert faults == []
    assert wins.total() == rounds


def _fault(timeline: Timeline, done: Contestant, chunks: NumberedChunks) -> str:
    """Return what is lost or wrong of a contestant's success; empty when nothing is."""
    truth = Truth(chunks)
    first = chunks.paths.index(done.paths[0]) * chunks.frames_each
    wanted = range(first, chunks.frame_count, done.every)
    settings = timeline.info().settings
    if settings is None or settings.layout != done.layout or not timeline.complete:
        return f"it is {timeline.info()}"
    frames = list(timeline.frames())
    if len(frames) != len(wanted):
        return f"{len(frames)} frames instead of {len(wanted)}"
    wrong = [truth.fault(source, frame.image) for source, frame in zip(wanted, frames, strict=True)]
    return "; ".join(filter(None, wrong))
