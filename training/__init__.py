"""Makes Hearth's embedded demo models from nothing; see the README.md in each folder."""
