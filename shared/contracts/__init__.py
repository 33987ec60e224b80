"""The wire types: what clients and operators say (JSON or msgpack), and what one service tells the next (msgpack).

Unknown fields are refused everywhere. `docs/asyncapi.yaml` is generated from these modules.
"""
