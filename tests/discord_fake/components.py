"""Rules for components that a schema can't say, and how a message shows them.

https://docs.discord.com/developers/components/reference
"""

from __future__ import annotations

from itertools import count
from typing import Any

from tests.discord_fake.errors import Json, invalid

ROW, BUTTON, STRING_SELECT, TEXT, FILE = 1, 2, 3, 10, 13
_SELECTS = frozenset({3, 5, 6, 7, 8})
_ROWS = 5
_BUTTONS = 5
_PARTS = 40
_TEXT = 4000
"""Characters of all text components of a message together."""
_LINK, _PREMIUM = 5, 6
GALLERY_ITEM = 0
"""Not a component of its own: it has no type."""
_DEFAULTS: dict[int, Json] = {
    **{kind: {"min_values": 1, "max_values": 1} for kind in _SELECTS},
    GALLERY_ITEM: {"description": None, "spoiler": False},
    11: {"description": None, "spoiler": False},
    FILE: {"spoiler": False},
    14: {"spacing": 1, "divider": True},
    17: {"accent_color": None, "spoiler": False},
}
"""What a message says of a component that was sent without it."""
_HOLDERS = ("components", "items", "accessory")
_MEDIA = ("media", "file")


def check(components: list[Json], *, version_2: bool) -> None:
    """Raise Misuse for what a message can't have. `version_2`: whether the message says so by its flag."""
    if not version_2:
        for at, component in enumerate(components):
            if component["type"] != ROW:
                raise invalid(f"components.{at}.type", "UNION_TYPE_CHOICES", "Value of field must be one of (1,).")
        if len(components) > _ROWS:
            raise invalid("components", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {_ROWS} in length.")
    found = list(_walk(components, "components"))
    if version_2 and len(found) > _PARTS:
        raise invalid("components", "COMPONENT_MAX_TOTAL", f"A message has {_PARTS} components at most.")
    if sum(len(part["content"]) for _, part in found if part["type"] == TEXT) > _TEXT:
        raise invalid("components", "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED", f"More than {_TEXT} characters.")
    used: set[str] = set()
    for where, part in found:
        _check_one(where, part)
        custom_id = part.get("custom_id")
        if custom_id is not None and custom_id in used:
            words = "Component custom id cannot be duplicated"
            raise invalid(f"{where}.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", words)
        used.add(str(custom_id))


def _walk(components: list[Json], where: str) -> list[tuple[str, Json]]:
    found: list[tuple[str, Json]] = []
    for at, component in enumerate(components):
        found.append((f"{where}.{at}", component))
        found += _walk(component.get("components") or [], f"{where}.{at}.components")
        if accessory := component.get("accessory"):
            found.append((f"{where}.{at}.accessory", accessory))
    return found


def _check_one(where: str, part: Json) -> None:
    if part["type"] == ROW:
        _check_row(where, part["components"])
    elif part["type"] == BUTTON:
        _check_button(where, part)
    elif part["type"] in _SELECTS:
        _check_select(where, part)


def _check_row(where: str, inner: list[Json]) -> None:
    selects = [part for part in inner if part["type"] in _SELECTS]
    if selects and len(inner) > 1:
        words = "A row has up to five buttons or one select."
        raise invalid(f"{where}.components", "COMPONENT_LAYOUT_WIDTH_EXCEEDED", words)


def _check_button(where: str, button: Json) -> None:
    style, custom_id, url = button["style"], button.get("custom_id"), button.get("url")
    if style == _LINK and (not url or custom_id):
        raise invalid(f"{where}.url", "BASE_TYPE_REQUIRED", "A link button has a url and no custom_id.")
    if style not in {_LINK, _PREMIUM} and (not custom_id or url):
        raise invalid(f"{where}.custom_id", "BASE_TYPE_REQUIRED", "A button has a custom_id and no url.")
    if style != _PREMIUM and not button.get("label") and not button.get("emoji"):
        raise invalid(f"{where}.label", "BUTTON_COMPONENT_MUST_HAVE_LABEL_OR_EMOJI", "A label or an emoji is required.")


def _check_select(where: str, select: Json) -> None:
    options = select.get("options") or []
    values = [option["value"] for option in options]
    if len(set(values)) < len(values):
        raise invalid(f"{where}.options", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "Two options have one value.")
    least, most = _number(select.get("min_values")), _number(select.get("max_values"))
    if least > most or (options and most > len(options)):
        words = "min_values is at most max_values, and that at most the number of options."
        raise invalid(f"{where}.max_values", "SELECT_COMPONENT_TOO_FEW_OPTIONS", words)
    if sum(bool(option.get("default")) for option in options) > most:
        raise invalid(f"{where}.options", "SELECT_COMPONENT_TOO_MANY_DEFAULT_VALUES", "Too many default options.")


def _number(value: Any) -> int:
    return 1 if value is None else int(value)


def shown(components: list[Json], files: dict[str, Json]) -> list[Json]:
    """Components as a message has them: numbered, without what is null. `files`: attachments by name."""
    numbers = count(1)
    return [_shown(component, numbers, files) for component in components]


def _shown(component: Json, numbers: count[int], files: dict[str, Json]) -> Json:
    given = component.get("id")
    own: Json = {"id": given or next(numbers)} if "type" in component else {}
    for name, value in component.items():
        if value is None or name in {"id", "required"}:
            continue
        if name in _MEDIA and isinstance(value, dict):
            own[name] = _media(value, next(numbers), files)
        elif name in _HOLDERS and isinstance(value, list):
            own[name] = [_shown(item, numbers, files) for item in value]
        elif name == "accessory":
            own[name] = _shown(value, numbers, files)
        else:
            own[name] = value
    return own | _filled(own, files)


def _filled(component: Json, files: dict[str, Json]) -> Json:
    """What the platform adds of itself."""
    kind = component.get("type", GALLERY_ITEM if "media" in component else ROW)
    found = {name: component.get(name, value) for name, value in _DEFAULTS.get(kind, {}).items()}
    if kind == FILE:
        name = str(component["file"]["url"]).rpartition("/")[2].partition("?")[0]
        found |= {"name": name, "size": files.get(name, {}).get("size", 0)}
    return found


def _media(media: Json, number: int, files: dict[str, Json]) -> Json:
    url = str(media["url"])
    if url.startswith("attachment://"):
        name = url.removeprefix("attachment://")
        if name not in files:
            raise invalid("components", "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND", f"No file {name}.")
        url = str(files[name]["url"])
    return {"id": str(number), "url": url, "proxy_url": url}
