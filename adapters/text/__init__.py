"""Markdown as models write it, made fit for each platform. Pure."""

from adapters.text.code_files import with_code_files
from adapters.text.discord import discord_length, discord_markdown
from adapters.text.splitting import Part, Splitter, cut, split
from adapters.text.telegram import telegram_html, telegram_length
from adapters.text.weights import utf16_length

__all__ = [
    "Part",
    "Splitter",
    "cut",
    "discord_length",
    "discord_markdown",
    "split",
    "telegram_html",
    "telegram_length",
    "utf16_length",
    "with_code_files",
]
