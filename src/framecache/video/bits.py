"""Bits of the headers of H.264 and HEVC. No I/O."""


class Bits:
    """Bits from the most significant one on; IndexError behind the last."""

    def __init__(self, payload: bytes) -> None:
        """Take the payload of a NAL unit, whose emulation prevention is undone here."""
        data = payload.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        if count > self._left:
            raise IndexError
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        """Return an unsigned number in the code of ITU-T H.264, 9.1."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def skip_exp_golomb(self, count: int) -> None:
        """Pass over some numbers in that code."""
        for _ in range(count):
            self.exp_golomb()
