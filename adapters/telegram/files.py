"""The files that come with a message, as attachments. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from telegram import Audio, Document, Message, Video, VideoNote, Voice

from adapters.telegram.client import seconds_of
from bot.messages import Attachment


def attachments(message: Message) -> tuple[Attachment, ...]:
    """What came with a message. Telegram sends an album as one message for each of its files."""
    return tuple(_all(message))


def _all(message: Message) -> Iterator[Attachment]:
    if message.voice:
        yield _sound("voice", "", message.voice, "audio/ogg")
    if message.audio:
        name = message.audio.file_name or message.audio.title or "audio"
        yield _sound("audio", name, message.audio, "audio/mpeg")
    if message.video_note:  # a round video of somebody who speaks: its sound is what is heard
        yield _sound("voice", "", message.video_note, "video/mp4")
    if message.video:
        yield _sound("video", message.video.file_name or "video", message.video, "video/mp4")
    if message.animation:
        yield _picture(message.animation.file_id, message.animation.file_size)
    elif message.document:
        yield _document(message.document)
    if message.photo:
        largest = message.photo[-1]
        yield _picture(largest.file_id, largest.file_size)
    if message.sticker:
        yield _picture(message.sticker.file_id, message.sticker.file_size)


def _sound(kind: str, name: str, item: Voice | Audio | VideoNote | Video, usual: str) -> Attachment:
    assert kind in {"voice", "audio", "video"}
    return Attachment(
        kind=kind,  # type: ignore[arg-type]  # one of those
        name=name,
        media_type=getattr(item, "mime_type", None) or usual,
        size=item.file_size,
        reference=item.file_id,
        duration=seconds_of(item.duration),
    )


def _document(item: Document) -> Attachment:
    return Attachment(
        kind="file",
        name=item.file_name or "file",
        media_type=item.mime_type or "",
        size=item.file_size,
        reference=item.file_id,
    )


def _picture(reference: str, size: int | None) -> Attachment:
    return Attachment(kind="image", name="", media_type="image/*", size=size, reference=reference)
