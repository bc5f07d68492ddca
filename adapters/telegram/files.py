"""The files that come with a message, as attachments. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from adapters.telegram.raw import Raw
from bot.messages import Attachment


def attachments(message: Raw) -> tuple[Attachment, ...]:
    """What came with a message. Telegram sends an album as one message for each of its files."""
    return tuple(_all(message))


def _all(message: Raw) -> Iterator[Attachment]:
    if voice := message.get("voice"):
        yield _sound("voice", "", voice, "audio/ogg")
    if audio := message.get("audio"):
        yield _sound("audio", audio.get("file_name") or audio.get("title") or "audio", audio, "audio/mpeg")
    if note := message.get("video_note"):  # a round video of somebody who speaks: its sound is what is heard
        yield _sound("voice", "", note, "video/mp4")
    if video := message.get("video"):
        yield _sound("video", video.get("file_name") or "video", video, "video/mp4")
    if animation := message.get("animation"):
        yield _picture(animation)
    elif document := message.get("document"):
        yield _document(document)
    if photo := message.get("photo"):
        yield _picture(photo[-1])  # the largest
    if sticker := message.get("sticker"):
        yield _picture(sticker)


def _sound(kind: Literal["voice", "audio", "video"], name: str, item: Raw, usual: str) -> Attachment:
    return Attachment(
        kind=kind,
        name=name,
        media_type=item.get("mime_type") or usual,
        size=item.get("file_size"),
        reference=item["file_id"],
        duration=float(item["duration"]),
    )


def _document(item: Raw) -> Attachment:
    return Attachment(
        kind="file",
        name=item.get("file_name") or "file",
        media_type=item.get("mime_type") or "",
        size=item.get("file_size"),
        reference=item["file_id"],
    )


def _picture(item: Raw) -> Attachment:
    return Attachment(
        kind="image", name="", media_type="image/*", size=item.get("file_size"), reference=item["file_id"]
    )
