"""What Hearth remembers: SQL tables and the store over them."""
