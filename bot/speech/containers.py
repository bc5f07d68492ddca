"""What an audio file is, by its first bytes and never by its name."""

from __future__ import annotations

from dataclasses import dataclass

_ID3 = b"ID3"
_ID3_HEADER = 10
"""Bytes: https://id3.org/id3v2.4.0-structure, section 3.1."""
_FIRST_FRAMES = 8192
"""Bytes in which an MP3 file's header frame lies, if there is one."""
_OGG_PAGE = b"OggS"
_OGG_HEADER = 27
"""Bytes of a page's header before its table of segments: RFC 3533, section 6."""
_UNKNOWN_SIZE = 2**31 - 2**16
"""So large or 0 is what programs state that write a WAV file to a pipe, and do not know yet how long it will be."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A container that can be read."""

    format: str
    """FFmpeg's name of its demultiplexer."""
    contiguous: bool = False
    """Its packets follow each other byte by byte: a gap is damage."""
    timed: bool = False
    """Its packets state when they are to be heard."""
    gaps_are_damage: bool = False
    """It has no pauses without packets. In WebM and MP4 files a pause may be left out."""


@dataclass
class Report:
    """What came of a file. Written as one line of JSON."""

    error: str = ""
    """`unknown`, `silent` (there is no audio in it), `unreadable`, `long`; empty if there are samples."""
    detail: str = ""
    stated: float | None = None
    """Seconds, as the container states them; None where it does not."""
    damaged_after: float | None = None


OGG = Kind("ogg", timed=True, gaps_are_damage=True)
FLAC = Kind("flac", contiguous=True)
WAV = Kind("wav")
WEBM = Kind("matroska,webm", timed=True)
MP4 = Kind("mov,mp4,m4a,3gp,3g2,mj2", timed=True)
MP3 = Kind("mp3", contiguous=True)
AAC = Kind("aac", contiguous=True)
AMR = Kind("amr", contiguous=True)
MPEG = Kind("mpeg")

_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"})
"""With which an ISO base media or QuickTime file begins: ISO/IEC 14496-12, section 4.3."""


def kind_of(data: bytes) -> Kind | None:
    """The container, or None if it is none that is read."""
    start = _sound(data)
    head = data[start : start + 16]
    by_magic = {_OGG_PAGE: OGG, b"fLaC": FLAC, b"\x1a\x45\xdf\xa3": WEBM, b"#!AM": AMR, b"\x00\x00\x01\xba": MPEG}
    if (kind := by_magic.get(head[:4])) is not None:
        return kind
    if head[:4] in {b"RIFF", b"RF64"} and head[8:12] == b"WAVE":
        return WAV
    if head[4:8] in _BOXES:
        return MP4
    return _by_sync(head)


def _by_sync(head: bytes) -> Kind | None:
    """MPEG audio begins with eleven set bits, AAC in ADTS with twelve and the layer 0: ISO/IEC 11172-3 and 13818-7."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, bitrate, rate = (head[1] >> 3) & 3, (head[1] >> 1) & 3, head[2] >> 4, (head[2] >> 2) & 3
    if layer == 0:
        return AAC if head[1] & 0xF0 == 0xF0 else None
    return None if version == 1 or bitrate == 15 or rate == 3 else MP3


def states_its_length(data: bytes, kind: Kind) -> bool:
    """Whether FFmpeg's word on a file's length is the file's own; of a bare stream it guesses by the first bit rate."""
    if kind is MP3:
        start = _sound(data)
        head = data[start : start + _FIRST_FRAMES]
        return any(mark in head for mark in (b"Xing", b"Info", b"VBRI"))
    return kind not in {AAC, AMR, MPEG}


def is_cut(data: bytes, kind: Kind) -> bool:
    """Whether a file visibly breaks off before its end, of which FFmpeg says nothing."""
    if kind is WAV:
        stated = int.from_bytes(data[4:8], "little")
        return data.startswith(b"RIFF") and 0 < stated < _UNKNOWN_SIZE and stated + 8 > len(data) + 1
    return kind is OGG and _is_cut_ogg(data)


def _is_cut_ogg(data: bytes) -> bool:
    start = data.rfind(_OGG_PAGE)
    header = data[start : start + _OGG_HEADER]
    if start < 0 or len(header) < _OGG_HEADER:
        return True
    segments = data[start + _OGG_HEADER : start + _OGG_HEADER + header[26]]
    return len(segments) < header[26] or start + _OGG_HEADER + len(segments) + sum(segments) > len(data)


def _sound(data: bytes) -> int:
    """Where the sound begins, behind ID3v2 tags. Their size has seven bits in each byte."""
    start = 0
    while data.startswith(_ID3, start) and len(data) >= start + _ID3_HEADER:
        size = 0
        for byte in data[start + 6 : start + _ID3_HEADER]:
            size = size << 7 | (byte & 0x7F)
        start += _ID3_HEADER + size
    return start
