"""The OpenAI-compatible API, under /v1: one module per family of endpoints.

frame: the application, and what holds for every request (who asks, errors, headers). rules: who is heard at all. faults:
errors as OpenAI's objects. body: JSON within bounds. parameters: what may be asked, as models. programs: the ports.
"""
