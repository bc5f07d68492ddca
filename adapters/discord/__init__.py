"""Discord: the Adapter over discord.py."""
