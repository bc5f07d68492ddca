"""The web page: an adapter on a TCP port, its guard, and the page's API over the store."""
