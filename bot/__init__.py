"""Hearth: a self-hosted chat assistant for communities."""
