"""What may be asked of each endpoint: one pydantic model per JSON body, from which the OpenAPI document is made too.

A parameter is honoured or refused, never ignored. What is refused stands in the models as `Refused`, with the reason, so
that the page of parameters and the error say the same.
"""
