"""The tests of Hearth."""
