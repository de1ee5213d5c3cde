"""Small damages to a file, each described by plain numbers so that a failing case can be shrunk and repeated."""

import random
from collections.abc import Sequence
from typing import NamedTuple

OPERATIONS = ("flip", "set", "number", "delete", "insert", "repeat", "cut", "digits", "token")
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1)
TOKENS = (b"null", b"-1", b"1e999", b"NaN", b"[]", b"{}", b'""', b"true", b"[" * 200, b"9" * 30, b"\x1b[31m", b"\xff")


class Edit(NamedTuple):
    """One damage."""

    operation: int
    place: float
    """From 0, the beginning of the file, to 1."""
    value: int


def apply_edits(content: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the content with damages, one after another."""
    for edit in edits:
        content = _apply(bytearray(content), *edit)
    return content


def draw_edits(numbers: random.Random) -> list[Edit]:
    """Draw one to four damages, half of them near the beginning, where headers are."""
    return [
        Edit(numbers.randrange(len(OPERATIONS)), numbers.random() ** numbers.choice((1, 3)), numbers.randrange(1 << 16))
        for _ in range(numbers.randint(1, 4))
    ]


def _apply(content: bytearray, operation: int, place: float, value: int) -> bytes:
    if not content:
        return bytes(content)
    at = min(int(place * len(content)), len(content) - 1)
    match OPERATIONS[operation % len(OPERATIONS)]:
        case "flip":
            content[at] ^= 1 << value % 8
        case "set":
            content[at] = value % 256
        case "number":
            size = (1, 2, 4, 8)[value % 4]
            number = NUMBERS[value // 4 % len(NUMBERS)] % (1 << 8 * size)
            content[at : at + size] = number.to_bytes(size, "little" if value // 64 % 2 else "big")
        case "delete":
            del content[at : at + 1 + value % 64]
        case "insert":
            content[at:at] = bytes([value % 256]) * (1 + value // 256 % 32)
        case "repeat":
            content[at:at] = content[at : at + 1 + value % 256]
        case "cut":
            del content[at:]
        case "digits":
            while at < len(content) and not chr(content[at]).isdecimal():
                at += 1
            content[at : at + 1] = str(NUMBERS[value % len(NUMBERS)]).encode()
        case "token":
            content[at : at + value // 16 % 8] = TOKENS[value % len(TOKENS)]
    return bytes(content)
