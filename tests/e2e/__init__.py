"""Whole processes: killed, starved, flooded, and used from the command line."""
