"""Write H.264 and HEVC syntax, bit by bit."""

from typing import Self


class BitWriter:
    """Collects bits, highest first."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def u(self, count: int, value: int) -> Self:
        """Append ``value`` in ``count`` bits."""
        self._bits.append(format(value, f"0{count}b"))
        return self

    def ue(self, value: int) -> Self:
        """Append an unsigned Exp-Golomb code."""
        code = format(value + 1, "b")
        self._bits.append("0" * (len(code) - 1) + code)
        return self

    def se(self, value: int) -> Self:
        """Append a signed Exp-Golomb code."""
        return self.ue(2 * value - 1 if value > 0 else -2 * value)

    def align(self) -> Self:
        """Append zeros up to the next byte."""
        self._bits.append("0" * (-sum(map(len, self._bits)) % 8))
        return self

    def trailing(self) -> bytes:
        """Return all bits as bytes, closed by a one and zeros (rbsp_trailing_bits)."""
        self.u(1, 1).align()
        bits = "".join(self._bits)
        return int(bits, 2).to_bytes(len(bits) // 8)


def unit(header: bytes, payload: bytes) -> bytes:
    """Return a NAL unit behind a start code, with bytes inserted that keep it unique."""
    escaped, zeros = bytearray(), 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b"\0\0\0\1" + header + bytes(escaped)
