"""ExLlamaV2 and ExLlamaV3 without a GPU: their own Python, with stand-ins for what is compiled and for the forward pass.

These tests run in an environment of their own, which `make test` makes; elsewhere they are skipped.
"""
