"""Plain text -> token ids, for what has no roles: texts that a model continues, and texts that it places in a space.

The same rule holds as for conversations: a control string in a text is broken, so that its ids are those of mere text.
Token ids from outside are looked through for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import structlog

from bot import aside
from bot.errors import BadRequest, RoleForgery, TooLong
from bot.generation import ChatTemplate
from bot.prompt.cutting import LONGEST_TOKEN
from bot.prompt.encoding import Encoder, ForgedError, Segment
from bot.prompt.guard import Guard, clean, take_apart
from bot.prompt.values import PlainVocabulary

log = structlog.get_logger(__name__)

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Given:
    """A text, or the ids of one, and how a refusal calls it."""

    name: str
    param: str
    text: str | None
    ids: Ids = ()


class TextPrompts:
    """Makes the prompts of one model that hold no conversation. Raises ModelError if its added tokens are hostile."""

    def __init__(self, vocabulary: PlainVocabulary) -> None:
        self._plain = plain = vocabulary.plain
        self._context_length = vocabulary.context_length
        self._guard = Guard(vocabulary.control_strings, ChatTemplate(source=""))
        self._encoder = Encoder(vocabulary, self._guard, remembers=0)
        self._forbidden = frozenset(i for i, text in plain.added.items() if text in self._guard.strings)
        self._beginnings = {*plain.before[:1], *(() if plain.begins is None else (plain.begins,))}
        self._prepared = False

    async def prompts(self, prompts: Sequence[str | Ids], *, suffix: str = "") -> list[Ids]:
        """The ids of prompts that are to be continued; what is written then comes before `suffix`.

        A text gets what the model wants before it, ids stay as they are. Raises BadRequest for ids that the model does
        not have, for control ids but for bos at the beginning, and for a suffix where the model knows no such thing;
        TooLong, with the numbers, if there is no room for one token more; RoleForgery.
        """
        fill, most = self._plain.fill, self._context_length - 1
        if suffix and fill is None:
            raise BadRequest("This model cannot write what comes before a suffix.", param="suffix")
        given = _named(prompts, "prompt")
        bodies = await self._bodies(given, most)
        [tail] = await self._encoded([_Given("The suffix", "suffix", suffix)], most, len(suffix), continues=True)

        def made() -> list[Ids]:
            result = []
            for one, ids in zip(given, bodies, strict=True):
                head, body = self._parted(one, ids)
                if suffix and fill is not None:
                    body = (fill.prefix, *body, fill.suffix, *tail, fill.middle)
                result.append((*head, *body))
            self._check_lengths(given, result, most)
            return result

        return await aside.run(_size(bodies), made)

    async def inputs(self, inputs: Sequence[str | Ids]) -> list[Ids]:
        """The ids of texts that are whole, with what the model wants around each, also where it comes as ids.

        Raises BadRequest for an empty text and for ids as `prompts` does, TooLong with the numbers, RoleForgery.
        """
        before, after = self._plain.before, self._plain.after
        size = _size(inputs)
        given = await aside.run(
            size, lambda: [replace(one, ids=_without(one.ids, before, after)) for one in _named(inputs, "input")]
        )
        bodies = await self._bodies(given, self._context_length)

        def made() -> list[Ids]:
            for one, ids in zip(given, bodies, strict=True):
                if not (one.text or ids):
                    raise BadRequest(f"{one.name} is empty.", param="input")
            result = [(*before, *body, *after) for body in bodies]
            self._check_lengths(given, result, self._context_length)
            return result

        return await aside.run(size, made)

    def _parted(self, given: _Given, ids: Ids) -> tuple[Ids, Ids]:
        """What stands at the very beginning of a prompt, and its body. Raises BadRequest if both are empty."""
        begins = self._plain.begins
        if given.text is None:
            begun = ids[:1] if ids and ids[0] in self._beginnings else ()
            head, body = begun, ids[len(begun) :]
        elif ids or self._plain.before or begins is None:
            head, body = self._plain.before, ids
        else:
            head, body = (begins,), ids
        if not (head or body):
            raise BadRequest(f"{given.name} is empty.", param=given.param)
        return head, body

    async def _bodies(self, given: Sequence[_Given], most: int) -> list[Ids]:
        """The ids of each, without what stands around a text; checked where they come from outside."""
        ids = [one for one in given if one.text is None]
        self._check_lengths(ids, [one.ids for one in ids], most)
        await aside.run(_size([one.ids for one in ids]), lambda: self._check_ids(ids))
        encoded: list[Ids] = []
        listed = [one for one in given if one.text is not None]
        size = _size([one.text or "" for one in listed])
        for batch in _batches(listed):
            encoded += await self._encoded(batch, most, size)
        texts = iter(encoded)
        return [one.ids if one.text is None else next(texts) for one in given]

    def _check_ids(self, given: Sequence[_Given]) -> None:
        """Raises BadRequest for what the model does not have, and for control ids behind the beginning."""
        for one in given:
            ids = one.ids
            if ids and (min(ids) < 0 or max(ids) >= self._plain.size):
                raise BadRequest(f"{one.name} has token ids that this model does not have.", param=one.param)
            if not self._forbidden.isdisjoint(ids[1:] if ids[:1] and ids[0] in self._beginnings else ids):
                raise BadRequest(f"{one.name} has control tokens among its ids.", param=one.param)

    def _check_lengths(self, given: Sequence[_Given], ids: Sequence[Ids], most: int) -> None:
        for one, found in zip(given, ids, strict=True):
            if len(found) > most:
                raise self._too_long(one, str(len(found)), most)

    def _too_long(self, given: _Given, tokens: str, most: int) -> TooLong:
        return TooLong(
            f"{given.name} has {tokens} tokens; this model's context is {self._context_length}, and {most} are the most.",
            param=given.param,
        )

    async def _encoded(self, given: Sequence[_Given], most: int, size: int, *, continues: bool = False) -> list[Ids]:
        """The ids of texts, without control ids. `size`: of all texts of the request. Raises TooLong, RoleForgery."""
        texts = [one.text or "" for one in given]
        for one, text in zip(given, texts, strict=True):  # known without a look at the text
            if len(text) > most * LONGEST_TOKEN:
                raise TooLong(
                    f"{one.name} has {len(text)} characters; this model's context is {self._context_length} tokens.",
                    param=one.param,
                )
        if not self._prepared:
            await self._encoder.prepare()
            self._prepared = True
        for one, text in zip(given, texts, strict=True):
            if await self._encoder.exceeds(text, most):
                raise self._too_long(one, "more", most)
        segments = await aside.run(size, lambda: [Segment(self._guard.protect(text), continues) for text in texts])
        try:
            encoded = await self._encoder.encode(segments, size)
        except ForgedError:
            encoded = [await self._alone(one, segment) for one, segment in zip(given, segments, strict=True)]
        self._check_lengths(given, encoded, most)
        return encoded

    async def _alone(self, given: _Given, segment: Segment) -> Ids:
        """The ids of one text; where it gives control ids although its control strings are broken, it is taken apart."""
        text = given.text or ""
        apart = await aside.run(len(text), lambda: take_apart(clean(text)))
        for trial in (segment, Segment(apart, segment.continues)):
            try:
                [ids] = await self._encoder.encode([trial], len(trial.text))
            except ForgedError:
                log.warning("control tokens came out of the tokenizer")
            else:
                return ids
        raise RoleForgery(detail="the tokenizer makes control tokens of single characters", param=given.param)


def _size(texts: Sequence[str | Ids]) -> int:
    """How much work they are, in characters."""
    return sum(map(len, texts)) + aside.EACH * len(texts)


def _named(given: Sequence[str | Ids], param: str) -> list[_Given]:
    names = [f"The {param}"] if len(given) == 1 else [f"{param.capitalize()} {i}" for i in range(len(given))]
    return [
        _Given(name, param, what) if isinstance(what, str) else _Given(name, param, None, tuple(what))
        for name, what in zip(names, given, strict=True)
    ]


def _without(ids: Ids, before: Ids, after: Ids) -> Ids:
    """The ids without what stands around a text, where it is there already."""
    ids = ids[len(before) :] if ids[: len(before)] == before else ids
    return ids[: len(ids) - len(after)] if after and ids[-len(after) :] == after else ids


def _batches(texts: Sequence[_Given]) -> Iterator[Sequence[_Given]]:
    """In their order, so many at once as are encoded in milliseconds: so one that is too long is found early."""
    begin = size = 0
    for end, one in enumerate(texts):
        length = len(one.text or "") + aside.EACH
        if end > begin and size + length > aside.LARGE:
            yield texts[begin:end]
            begin, size = end, 0
        size += length
    if begin < len(texts):
        yield texts[begin:]
