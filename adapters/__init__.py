"""The faces of Hearth: one module per platform, and what they share."""
