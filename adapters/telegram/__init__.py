"""Telegram: a bot on python-telegram-bot, driven by a loop of our own so that no update is acknowledged before it is committed.

`adapter` implements the port. `updates` makes events of what Telegram sends, with `addressing` (is the bot meant?) and `files`;
`polling` and `webhook` are the two ways in; `client` makes the library's bot and turns its errors into ours; `look` is what
`hearth check` sees. Delivery, splitting, permissions and commands are the core's.
"""
