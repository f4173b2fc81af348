"""Bit reader for H.264 and HEVC headers. Does no I/O."""


class BitReader:
    """Bit reader that starts at the most significant bit; IndexError past the last bit."""

    def __init__(self, payload: bytes) -> None:
        """Store the payload of a NAL unit without its emulation prevention bytes."""
        data = payload.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(data)
        self._remaining = 8 * len(data)

    def read(self, count: int) -> int:
        """Return the next ``count`` bits as an unsigned number."""
        if count > self._remaining:
            raise IndexError
        self._remaining -= count
        return self._value >> self._remaining & ((1 << count) - 1)

    def read_exp_golomb(self) -> int:
        """Read an unsigned Exp-Golomb number (ITU-T H.264, 9.1)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def skip_exp_golomb(self, count: int) -> None:
        """Skip ``count`` Exp-Golomb numbers."""
        for _ in range(count):
            self.read_exp_golomb()
