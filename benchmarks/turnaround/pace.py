"""Arithmetic of latency and bandwidth, without a clock."""

import math
from dataclasses import dataclass
from random import Random
from typing import Final

QUANTUM_BYTES: Final = 128 * 1024
"""The least that is worth a wake-up; only the end of a body is less."""
BURST_BYTES: Final = 256 * 1024
"""The most that a line which stood idle within an answer may send at once."""


@dataclass(frozen=True, slots=True)
class Network:
    """Network between a client and the server."""

    median_ms: float = 0.0
    """Median time from the end of a request to the first byte of its answer; 0: none is added."""
    sigma: float = 0.0
    """Standard deviation of the logarithm of that time."""
    megabytes_per_second: float = 0.0
    """Rate of the answers on one connection (10⁶ bytes); 0: no limit."""


class Turnarounds:
    """The seconds that answers take, in the order in which they begin."""

    def __init__(self, network: Network, *, seed: int) -> None:
        self._network = network
        self._random = Random(seed)

    def next_seconds(self) -> float:
        """Return a sample of the log-normal distribution."""
        network = self._network
        if not network.median_ms:
            return 0.0
        return self._random.lognormvariate(math.log(network.median_ms / 1000), network.sigma)


class Line:
    """The account of one connection: what it may send by when, to a byte."""

    def __init__(self, megabytes_per_second: float) -> None:
        self._bytes_per_second = megabytes_per_second * 1e6 or math.inf
        self._since = -math.inf
        self._sent_bytes = 0
        """Since then: an integer, for no error may add up."""

    def begin(self, now: float) -> None:
        """Begin a response; unused bandwidth from before is lost."""
        if self._allowed_bytes(now) > 0:
            self._since, self._sent_bytes = now, 0

    def granted_bytes(self, now: float, left: int) -> int:
        """Return how many of the ``left`` bytes may be sent now; 0: not before :meth:`ready_at`."""
        allowed = self._allowed_bytes(now)
        if allowed >= BURST_BYTES:
            self._since = now - BURST_BYTES / self._bytes_per_second
            self._sent_bytes = 0
            allowed = BURST_BYTES
        # A wake-up at the very moment must not be refused for the last bit of a float.
        whole = int(allowed + 1)
        return min(left, whole) if whole >= min(left, QUANTUM_BYTES) else 0

    def ready_at(self, left: int) -> float:
        """Time at which enough of the ``left`` bytes may go."""
        until = self._sent_bytes + min(left, QUANTUM_BYTES)
        return self._since + until / self._bytes_per_second

    def sent(self, size_bytes: int) -> None:
        """Record that these bytes were sent."""
        self._sent_bytes += size_bytes

    def _allowed_bytes(self, now: float) -> float:
        if math.isinf(self._bytes_per_second):
            return math.inf
        return (now - self._since) * self._bytes_per_second - self._sent_bytes
