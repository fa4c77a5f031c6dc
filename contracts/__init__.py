"""The messages: what goes over the wire, in and out.

`inbound` and `outbound` hold one pydantic model per topic, `topics` the catalogue, `headers` the Kafka headers,
`fields` the types that several messages share; `framing`, `reader` and `xapi` are for who reads. `schemas/` and
`asyncapi.yaml` are exported from the models by `python -m contracts.export`; `examples/` has a message for every topic.
This package can be read and used alone.
"""
