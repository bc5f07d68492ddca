"""Tokens as their files spell them -> bytes."""

from __future__ import annotations

from functools import cache


@cache
def byte_of_character() -> dict[str, bytes]:
    """GPT-2's byte-level alphabet: printable bytes stand for themselves, the others for U+0100 and up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): bytes([byte]) for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    table.update({chr(0x100 + n): bytes([byte]) for n, byte in enumerate(others)})
    return table


def byte_level(token: str) -> bytes:
    """What a token of GPT-2's kind spells."""
    table = byte_of_character()
    return b"".join(table.get(char, char.encode()) for char in token)


def byte_token(token: str) -> bytes:
    """What SentencePiece's `<0x0A>` spells."""
    return bytes([int(token[3:5], 16)])
