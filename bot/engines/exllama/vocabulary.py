"""A model folder's tokenizer, chat template and end tokens, through `tokenizers` itself.

The libraries' own tokenizers are not used for text: exllamav2's `encode_special_tokens=False` still takes control
strings in people's words for control tokens, and its configuration knows the first end token alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import tokenizers

from bot.engines import spelling
from bot.engines.exllama.weights import ModelFolder, read_json
from bot.engines.exllama.writing import Decoder
from bot.engines.ggml import END_TEXTS
from bot.engines.plain import fill_of, surroundings
from bot.errors import ModelError
from bot.generation import ChatTemplate, PlainText

BYTE_TOKEN = re.compile("<0x[0-9A-F]{2}>")
"""How SentencePiece's byte fallback is spelled."""


class Vocabulary:
    """Text <-> ids. Every method may be called from any thread."""

    def __init__(self, folder: ModelFolder) -> None:
        self.path = folder.path
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder.path / "tokenizer.json"))
        except Exception as error:
            raise ModelError(f"{folder.path / 'tokenizer.json'}: cannot be read ({error})") from error
        self._tokenizer.no_padding()  # both may have been saved with it, and neither belongs to a prompt
        self._tokenizer.no_truncation()
        self._settings = _optional(folder, "tokenizer_config.json")
        self._added = {id_: token.content for id_, token in self._tokenizer.get_added_tokens_decoder().items()}
        self._specials = frozenset(
            id_ for id_, token in self._tokenizer.get_added_tokens_decoder().items() if token.special
        )
        self.control_strings = frozenset(self._added.values())
        self.template = self._template(folder)
        self.end_ids = self._ends(folder)

    @property
    def size(self) -> int:
        """Ids are below this."""
        return max(self._tokenizer.get_vocab_size(), max(self._added, default=-1) + 1)

    @property
    def plain(self) -> PlainText:
        """What the model wants around a text, as the tokenizer puts it there."""
        bare, whole = (self._tokenizer.encode("a", add_special_tokens=special).ids for special in (False, True))
        begins = self.id_of(self._settings.get("bos_token"))
        return PlainText(
            size=self.size,
            added=self._added,
            before=surroundings(bare, whole)[0],
            begins=self.id_of(self._settings.get("eos_token")) if begins is None else begins,
            fill=fill_of(self._added),
        )

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts -> ids; control strings are parsed, no bos is added."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """What ids spell, without special tokens; U+FFFD for bytes that are no character (yet)."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def showing(self, names: Collection[str]) -> Decoder:
        """The same, but the special tokens of these names stand in the text. The end of a turn never does."""
        silent = self.silent(names)
        return self if silent == self._specials else _Showing(self._tokenizer, silent)

    def silent(self, names: Collection[str]) -> frozenset[int]:
        """The tokens that leave no text, where these names are to stand in it."""
        return self._specials - {id_ for id_ in self._specials - self.end_ids if self._added[id_] in names}

    def bytes_of(self, id_: int) -> bytes:
        """What one token spells, control tokens their names."""
        if id_ in self._added:
            return self._added[id_].encode()
        token = self._tokenizer.id_to_token(id_) or ""
        if self._is_byte_level:
            return spelling.byte_level(token)
        if BYTE_TOKEN.fullmatch(token):
            return spelling.byte_token(token)
        return token.replace("▁", " ").encode()

    @cached_property
    def _is_byte_level(self) -> bool:
        """Whether its tokens are spelled in GPT-2's alphabet."""
        settings = json.loads(self._tokenizer.to_str())
        return '"ByteLevel"' in json.dumps([settings["decoder"], settings["pre_tokenizer"]])

    def serialized(self) -> str:
        """As tokenizer.json."""
        return self._tokenizer.to_str()

    def vocabulary(self) -> dict[str, int]:
        """Every token and its id."""
        return self._tokenizer.get_vocab()

    def id_of(self, text: object) -> int | None:
        """The id of a token by its content, or by the table that tokenizer_config.json has for it."""
        content = text.get("content") if isinstance(text, dict) else text
        return self._tokenizer.token_to_id(content) if isinstance(content, str) else None

    def _template(self, folder: ModelFolder) -> ChatTemplate:
        source = _template_source(folder, self._settings)
        if not source.strip():
            raise ModelError(f"{folder.path}: has no chat template; use the instruction-tuned version of this model")
        bos, eos = (self._content(self._settings.get(name)) for name in ("bos_token", "eos_token"))
        return ChatTemplate(source=source, bos_token=bos, eos_token=eos)  # a template of this form writes bos by itself

    def _content(self, token: object) -> str:
        content = token.get("content") if isinstance(token, dict) else token
        return content if isinstance(content, str) else ""

    def _ends(self, folder: ModelFolder) -> frozenset[int]:
        """All that config.json, generation_config.json and tokenizer_config.json call the end.

        Many fine-tuned models name an end that their template never writes, and would not stop: then the control
        strings of the template that are known as ends count as well. Raises ModelError if there is none.
        """
        found: set[int] = set()
        for values in (folder.config, folder.text_config, _optional(folder, "generation_config.json")):
            value = values.get("eos_token_id")
            found |= {id_ for id_ in (value if isinstance(value, list) else [value]) if isinstance(id_, int)}
        named = self.id_of(self._settings.get("eos_token"))
        found |= {named} if named is not None else set()
        texts = {self._added.get(id_, "") for id_ in found} - {""}
        if not any(text in self.template.source for text in texts) and "eos_token" not in self.template.source:
            found |= {id_ for id_ in self._specials if self._added[id_] in END_TEXTS & self._written()}
        found = {id_ for id_ in found if 0 <= id_ < self.size}
        if not found:
            raise ModelError(f"{folder.path}: nothing tells which token ends a turn (eos_token_id)")
        return frozenset(found)

    def _written(self) -> frozenset[str]:
        return frozenset(text for text in self.control_strings if text in self.template.source)


class _Showing:
    """A Decoder that leaves out some tokens."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, hidden: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._hidden = hidden

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([id_ for id_ in ids if id_ not in self._hidden], skip_special_tokens=False)


def _optional(folder: ModelFolder, name: str) -> dict[str, Any]:
    file = folder.path / name
    return read_json(file) if file.exists() else {}


def _template_source(folder: ModelFolder, settings: dict[str, Any]) -> str:
    """Of the places that transformers looks in, newest first."""
    file = folder.path / "chat_template.jinja"
    if file.exists():
        return file.read_text("utf-8")
    value = _optional(folder, "chat_template.json").get("chat_template") or settings.get("chat_template")
    if isinstance(value, list):  # several by name
        named = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else ""
