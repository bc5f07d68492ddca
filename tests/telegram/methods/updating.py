"""How the bot gets its updates."""

from __future__ import annotations

from tests.telegram.errors import Json, bad_request, conflict
from tests.telegram.platform import Handler, Platform

LONGEST_POLL = 50.0
_BATCH = 100


async def get_updates(platform: Platform, given: Json) -> list[Json]:
    """Long polling."""
    if platform.webhook.url:
        raise conflict(
            "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
        )
    _allow(platform, given)
    limit = given.get("limit", _BATCH)
    timeout = min(given.get("timeout", 0), LONGEST_POLL)
    return await platform.queue.poll(given.get("offset", 0), limit if 0 < limit <= _BATCH else _BATCH, timeout)


def _allow(platform: Platform, given: Json) -> None:
    """Without the parameter the earlier choice stays; an empty list is the default again."""
    if "allowed_updates" in given:
        platform.queue.allowed = given["allowed_updates"]


async def set_webhook(platform: Platform, given: Json) -> bool:
    """An empty URL removes the webhook."""
    if not given["url"]:
        return await delete_webhook(platform, given)
    connections = given.get("max_connections", 40)
    if not 1 <= connections <= 100:
        raise bad_request("max_connections must be from 1 to 100")
    _allow(platform, given)
    if given.get("drop_pending_updates"):
        platform.queue.clear()
    await platform.webhook.set(given["url"], given.get("secret_token", ""), connections)
    return True


async def delete_webhook(platform: Platform, given: Json) -> bool:
    """Back to getUpdates."""
    if given.get("drop_pending_updates"):
        platform.queue.clear()
    await platform.webhook.stop()
    return True


async def get_webhook_info(platform: Platform, given: Json) -> Json:
    """What is set, and the last error."""
    return platform.webhook.info()


HANDLERS: dict[str, Handler] = {
    "getUpdates": get_updates,
    "setWebhook": set_webhook,
    "deleteWebhook": delete_webhook,
    "getWebhookInfo": get_webhook_info,
}
