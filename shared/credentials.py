"""What credentials a settings document may name: secrets by reference alone, and ways to sign in that fit them."""

from typing import Any

from shared.addresses import refuse_control_characters
from shared.contracts.work import Credentials, SecretReference
from shared.refusals import Invalid

_REFERENCE = '{ env = "NAME" }, { file = "/path" } or { command = "name" }'


def refuse_plain_secrets(document: dict[str, Any]) -> None:
    """Raises Invalid where a secret stands in the document itself, without repeating it."""
    groups: list[tuple[str, Any]] = [("relay", document.get("relay"))]
    routes = document.get("routes")
    if isinstance(routes, dict):
        groups += [(f'routes."{name}"', route) for name, route in routes.items()]
    for name, group in groups:
        auth = group.get("auth") if isinstance(group, dict) else None
        for secret in ("password", "token"):
            if isinstance(auth, dict) and isinstance(auth.get(secret), str):
                # The value is not repeated: it is a secret, and refusals are published and logged.
                raise Invalid(
                    f"{name}.auth.{secret}",
                    f"got a plain text; takes a reference to where the senders find the {secret}, {_REFERENCE}: "
                    "no secret ever lies on the broker, in the store or in a log",
                )


def check_credentials(name: str, auth: Credentials | None) -> None:
    """Raises Invalid, which names the field below `name`, for credentials that no server could be shown."""
    if auth is None:
        return
    try:
        refuse_control_characters(auth.user)  # they separate the fields of what is shown to the server
    except ValueError as error:
        raise Invalid(f"{name}.user", str(error)) from error
    _check_reference(f"{name}.password", auth.password)
    _check_reference(f"{name}.token", auth.token)
    if auth.password is None and auth.token is None:
        raise Invalid(f"{name}.password", f"is missing, and so is token; takes a reference, {_REFERENCE}")
    if auth.token is None and "XOAUTH2" in auth.mechanisms:
        raise Invalid(f"{name}.token", "is missing; XOAUTH2 needs it")
    if auth.password is None and set(auth.mechanisms) - {"XOAUTH2"}:
        raise Invalid(f"{name}.password", "is missing; mechanisms other than XOAUTH2 need it")


def _check_reference(name: str, reference: SecretReference | None) -> None:
    if reference is not None and (reference.env, reference.file, reference.command).count(None) != 2:
        raise Invalid(name, f"takes {_REFERENCE}, one of them")
