"""The form of the settings: what it shows of a document, and the document that it means."""

from collections.abc import Mapping
from typing import Any

from shared.settings import with_field

# Name in the form: the field of the settings. Texts; what is empty takes its default.
TEXTS = {
    "delivery.mode": "delivery.mode",
    "relay.host": "relay.host",
    "tls": "tls",
    "identity.reply_to": "identity.reply_to",
    "identity.sender_name": "identity.sender_name",
    "sending.hold": "sending.hold",
}
NUMBERS = {"relay.port": "relay.port", "sending.max_per_connection": "sending.max_per_connection"}
HELO, HELO_KIND = "identity.helo_name", "helo_kind"
AUTH, USER, SECRET_KIND, SECRET = "auth", "relay.auth.user", "secret_kind", "relay.auth.password"
KINDS = ("env", "file", "command")


def shown(document: Mapping[str, Any]) -> dict[str, str]:
    """What the form says of the settings in force."""
    relay, identity = document["relay"], document["identity"]
    auth = relay.get("auth") or {}
    password: Mapping[str, str] = auth.get("password") or {}
    kind, secret = next(iter(password.items()), ("env", ""))
    automatic = identity["helo_name"] == "auto"
    return {
        **{name: str(_field(document, field)) for name, field in {**TEXTS, **NUMBERS}.items()},
        HELO_KIND: "auto" if automatic else "own",
        HELO: "" if automatic else identity["helo_name"],
        AUTH: "on" if auth else "",
        USER: auth.get("user", ""),
        SECRET_KIND: kind,
        SECRET: secret,
    }


def meant(document: dict[str, Any], form: Mapping[str, str]) -> dict[str, Any]:
    """The document with what the form says; what it has no field for stays. Not judged."""
    for name, field in TEXTS.items():
        document = with_field(document, field, form.get(name) or None)
    for name, field in NUMBERS.items():
        document = with_field(document, field, _number(form.get(name, "")))
    own = form.get(HELO_KIND) == "own"
    document = with_field(document, HELO, form.get(HELO, "") if own else "auto")
    return with_field(document, "relay.auth", _auth(document["relay"].get("auth"), form))


def place(field: str) -> str:
    """The name in the form of a field that is refused; "" for one that it does not show."""
    if field in (*TEXTS.values(), *NUMBERS.values(), HELO, USER):
        return field
    return SECRET if field.startswith("relay.auth") else ""


def _auth(former: Mapping[str, Any] | None, form: Mapping[str, str]) -> dict[str, Any] | None:
    if not form.get(AUTH):
        return None
    auth: dict[str, Any] = {**(former or {}), "user": form.get(USER, "")}
    kind, secret = form.get(SECRET_KIND, ""), form.get(SECRET, "")
    if secret:
        auth["password"] = {kind if kind in KINDS else "env": secret}
        auth.pop("token", None)
    elif "token" not in auth:
        auth.pop("password", None)
    return auth


def _number(text: str) -> int | str | None:
    """What is no number is refused by the settings, with its name."""
    return int(text) if text.isdecimal() and len(text) < 10 else text or None


def _field(document: Mapping[str, Any], field: str) -> Any:
    value: Any = document
    for part in field.split("."):
        value = value[part]
    return value
