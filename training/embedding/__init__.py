"""Makes the embedded embedding model from nothing, from a dictionary's definitions and the project's own pages."""
