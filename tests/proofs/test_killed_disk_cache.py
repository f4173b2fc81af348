"""Processes that share a disk cache are stopped and killed at any moment without harm."""

import json
import os
import subprocess
import sys
from pathlib import Path

from copies import LIMIT, bytes_on_disk, copy, disk_cache, files, kept
from proving import Proof

PROGRAM = """
import json, os, random, signal, sys, time
from pathlib import Path
from copies import LIMIT, bytes_on_disk, copy, files, disk_cache

folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
copies = [copy(number, 1000 + 577 * number % 60_000) for number in range(120)]
chance = random.Random(seed)

def work(seed):
    chance, ours = random.Random(seed), disk_cache(folder)
    while True:
        row, data = chance.choice(copies)
        found = ours.get(row)
        if found is None:
            ours.put(row, data)
        elif found != data:
            os._exit(1)

def start():
    seed = chance.random()
    worker = os.fork()
    if worker == 0:
        work(seed)
    return worker

workers = [start() for _ in range(4)]
largest, half_written, ends = 0, 0, []
for _ in range(kills):
    time.sleep(chance.uniform(0.0, 0.05))
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
        os.waitpid(worker, os.WUNTRACED)
    largest = max(largest, bytes_on_disk(folder)) if folder.exists() else 0
    killed = workers.pop(chance.randrange(len(workers)))
    os.kill(killed,  signal.SIGKILL)
    half_written += sum("." in path.name for path in files(folder))
    ends.append(os.waitstatus_to_exitcode(os.waitpid(killed, 0)[1]))
    for worker in workers:
        os.kill(worker, signal.SIGCONT)
    workers.append(start())
for worker in workers:
    os.kill(worker, signal.SIGKILL)
    ends.append(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
print(json.dumps({"largest": largest, "half_written": half_written, "ends": sorted(set(ends))}))
"""


def test_disk_cache_stays_within_its_limit_and_usable_when_its_users_are_killed(
    tmp_path: Path, proof: Proof
) -> None:
    folder = tmp_path / "disk-cache"
    kills = proof.size(short=100, long=5_000)
    command = [sys.executable, "-c", PROGRAM, str(folder), str(kills), "7"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=3600, env=environment
    )
    report = json.loads(run.stdout)
    assert report["ends"] == [-9]
    assert LIMIT // 2 < report["largest"] <= LIMIT

    copies = [copy(number, 20_000) for number in range(1000, 1100)]
    ours = disk_cache(folder)
    for one in copies:
        ours.put(*one)
        assert bytes_on_disk(folder) <= LIMIT
    assert [path for path in files(folder) if "." in path.name] == []
    assert 20_000 * len(kept(folder, copies)) > 0.7 * LIMIT
    proof.found(kills=kills, half_written=report["half_written"])
