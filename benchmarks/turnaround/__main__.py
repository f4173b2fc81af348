"""``python -m benchmarks.turnaround 127.0.0.1:7480``: prints its port; ends with its input.

Each line of its input is a number that restarts the sequence of turnarounds.
"""

import argparse
import os
import resource
import sys

from benchmarks.turnaround.loop import Loop, Readable, Step
from benchmarks.turnaround.pace import Network
from benchmarks.turnaround.relay import Proxy


def main() -> None:
    parser = argparse.ArgumentParser(prog="turnaround", description=__doc__)
    parser.add_argument("server", help="host:port of the server behind")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--median-ms", type=float, default=0.0)
    parser.add_argument("--sigma", type=float, default=0.0)
    parser.add_argument("--megabytes-per-second", type=float, default=0.0)
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    network = Network(arguments.median_ms, arguments.sigma, arguments.megabytes_per_second)
    host, _, port = arguments.server.rpartition(":")
    loop = Loop()
    proxy = Proxy(loop, (host, int(port)), network, port=arguments.port)
    loop.start(seeds(proxy), at_end=loop.stop)
    print(proxy.port, flush=True)
    loop.run()


def seeds(proxy: Proxy) -> Step:
    """Take seeds from standard input until it ends."""
    descriptor = sys.stdin.fileno()
    os.set_blocking(descriptor, False)
    while True:
        yield Readable(descriptor)
        lines = os.read(descriptor, 4096)
        if not lines:
            return
        proxy.reseed(int(lines.split()[-1]))
        print("seeded", flush=True)


if __name__ == "__main__":
    main()
