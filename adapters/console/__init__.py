"""The terminal: an adapter on a local socket, the client that `hearth chat` and `hearth say` use, and its screen."""
