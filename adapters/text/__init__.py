"""Markdown as models write it, made fit for each platform. Pure."""

from adapters.text.splitting import Part, Splitter, cut, split
from adapters.text.weights import utf16_length

__all__ = ["Part", "Splitter", "cut", "split", "utf16_length"]
