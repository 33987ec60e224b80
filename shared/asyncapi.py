"""Writes docs/asyncapi.yaml from the wire types: `make docs`, or `python -m shared.asyncapi FILE`."""

import sys
from inspect import cleandoc
from pathlib import Path
from typing import Any, get_args

import msgspec
import yaml

from shared import topology
from shared.contracts.answers import Answer
from shared.contracts.commands import Command
from shared.contracts.events import Event
from shared.contracts.submissions import Submission
from shared.contracts.work import OutcomeReport, RouteRequests, SendRequests
from shared.durations import TAKES, Duration
from shared.settings import SettingsDocument

_JSON, _MSGPACK, _MESSAGE = "application/json", "application/msgpack", "message/rfc822"

# Who writes and reads each exchange, in words for people.
_CHANNELS: dict[str, tuple[str, list[Any]]] = {
    topology.SUBMIT: (
        "Clients publish mails here. `message_id` is the mail's id and makes a repeat harmless; `content_type` says "
        "which of the two forms it has. The broker's confirm means: safe.",
        [Submission, "FinishedMessage"],
    ),
    topology.CONTROL: (
        "Operators and clients publish commands here; each is answered to `reply_to` with its `correlation_id`.",
        [*get_args(Command), *get_args(Answer)],
    ),
    topology.EVENTS: (
        "What became of mails. The routing key is `<event>.<recipient domain>`; an event without a recipient has its "
        "kind alone. A message has one or more events of its key, each in a line of its own. Bind a queue of your "
        "own, or read the stream `pillarbox.events`.",
        list(get_args(Event)),
    ),
    topology.SETTINGS: (
        "Settings documents, each whole (docs/settings.md); the offset in the stream is the revision.",
        [SettingsDocument],
    ),
    topology.RESOLVE: ("The scheduler asks resolvers for routes.", [RouteRequests]),
    topology.SEND: ("Resolvers hand work to senders; the routing key is the lane.", [SendRequests]),
    topology.OUTCOME: ("Senders and resolvers report what became of attempts.", [OutcomeReport]),
}

_INTERNAL = {RouteRequests, SendRequests, OutcomeReport}

_FINISHED = {
    "summary": "A finished message (RFC 5322), as `message/rfc822`.",
    "description": "The envelope comes from the headers `mail-from` and `rcpt-to` (a list, or a text with commas); "
    "absent, from the message's own From/Sender and To/Cc/Bcc. `Bcc` never leaves.",
    "contentType": _MESSAGE,
    "headers": {
        "type": "object",
        "properties": {
            "mail-from": {"type": "string", "description": "reverse-path; an empty text is the null one"},
            "rcpt-to": {"description": "recipients: a list, or a text with commas"},
            "hold": {"type": "string", "description": TAKES},
            "send_at": {"type": "string", "format": "date-time"},
            "give_up_after": {"type": "string", "description": TAKES},
            "batch": {"type": "string"},
            "priority": {"enum": ["normal", "urgent"]},
            "notify": {"description": '"never", or of failure, delay, success a list, or a text with commas'},
            "ret": {"enum": ["hdrs", "full"]},
            "ignore_suppression": {"type": "boolean"},
        },
    },
    "payload": {"type": "string"},
}


def document() -> dict[str, Any]:
    """The AsyncAPI 3.0 description of the contract, and of the hops inside."""
    types = [kind for _, kinds in _CHANNELS.values() for kind in kinds if not isinstance(kind, str)]
    _, schemas = msgspec.json.schema_components(types, schema_hook=_schema, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        if "description" in schema:  # a docstring, of whose indentation msgspec takes off what its version does
            schema["description"] = cleandoc(schema["description"])
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Pillarbox",
            "version": "1",
            "description": "Generated from shared/contracts by `make docs`; do not edit. "
            "Unknown fields are refused. Hops between the services are msgpack arrays, fields in order.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": _JSON,
        "channels": {name: _channel(name) for name in _CHANNELS},
        "operations": _operations(),
        "components": {
            "messages": {**{_name(kind): _message(kind) for kind in types}, "FinishedMessage": _FINISHED},
            "schemas": schemas,
        },
    }


def _channel(name: str) -> dict[str, Any]:
    text, kinds = _CHANNELS[name]
    return {
        "address": name,
        "description": text,
        "messages": {_name(kind): {"$ref": f"#/components/messages/{_name(kind)}"} for kind in kinds},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": name, "type": topology.EXCHANGES[name], "durable": True, "vhost": "/"},
            }
        },
    }


def _operations() -> dict[str, Any]:
    """What a client does; from its side, `send` is publish."""
    return {
        "submit": {"action": "send", "channel": {"$ref": f"#/channels/{topology.SUBMIT}"}},
        "command": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{topology.CONTROL}"},
            "reply": {"address": {"location": "$message.header#/replyTo"}},
        },
        "listen": {"action": "receive", "channel": {"$ref": f"#/channels/{topology.EVENTS}"}},
        "changeSettings": {"action": "send", "channel": {"$ref": f"#/channels/{topology.SETTINGS}"}},
    }


def _message(kind: Any) -> dict[str, Any]:
    return {
        "name": _name(kind),
        "summary": (kind.__doc__ or "").strip().splitlines()[0],
        "contentType": _MSGPACK if kind in _INTERNAL else _JSON,
        "payload": {"$ref": f"#/components/schemas/{_name(kind)}"},
    }


def _name(kind: Any) -> str:
    return kind if isinstance(kind, str) else str(kind.__name__)


def _schema(kind: type) -> dict[str, Any]:
    if kind is Duration:
        return {"type": ["string", "number"], "description": TAKES}
    raise NotImplementedError(kind)


def rendered() -> str:
    """The document as YAML."""
    plain = msgspec.json.decode(msgspec.json.encode(document(), enc_hook=str))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)


def main() -> None:
    """Write the file named on the command line, docs/asyncapi.yaml without one."""
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/asyncapi.yaml").write_text(rendered(), encoding="utf-8")


if __name__ == "__main__":
    main()
