"""A running console, and how programs and people talk to it."""

import re
import secrets
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import tomli_w

from shared.console_accounts import Scope, new_token, token_hash
from shared.passwords import hash_password
from tests.support.pipeline import Worker

PASSWORD = "correct horse battery staple"

# For clients that speak no TLS: each would load all certificates that the system trusts, which takes 30 ms.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

_FORM_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


class Console:
    """A console worker of a pipeline; a context manager."""

    def __init__(self, amqp_url: str, folder: Path, **environment: str) -> None:
        """`environment`: variables beyond those that every console of the tests has."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.tokens: dict[str, str] = {}
        self.link_token = new_token()
        (folder / "link").write_text(token_hash(self.link_token))
        self.write_tokens({"all": tuple(Scope), **{scope.value: (scope,) for scope in Scope}})
        if not (folder / "users.toml").exists():  # a new hash of the same password would end the sessions
            self.write_users({"ada": tuple(Scope), "rob": (Scope.READ,)})
        self._environment = {
            "PILLARBOX_AMQP_URL": amqp_url,
            "PILLARBOX_CONSOLE_LISTEN": "127.0.0.1:0",
            "PILLARBOX_CONSOLE_TOKENS": str(folder / "tokens.toml"),
            "PILLARBOX_CONSOLE_USERS": str(folder / "users.toml"),
            "PILLARBOX_CONSOLE_LINK": str(folder / "link"),
            **environment,
        }
        self.worker: Worker | None = None
        self.url = ""

    def __enter__(self) -> "Console":
        self.worker = Worker("console", f"console-{secrets.token_hex(3)}", self._environment, self.folder)
        try:
            self.worker.wait_for_log("listening")
        except BaseException:
            self.worker.kill()
            raise
        [line] = self.worker.logged("listening")
        found = re.search(r" port=(\d+)", line)
        assert found is not None
        self.url = f"http://127.0.0.1:{found[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        assert self.worker is not None
        if self.worker.running:
            self.worker.stop()

    def write_tokens(self, tokens: Mapping[str, Sequence[Scope]]) -> None:
        """Let programs in: names and scopes; their tokens are in `tokens`."""
        self.tokens = {name: self.tokens.get(name) or new_token() for name in tokens}
        document = {
            name: {"hash": token_hash(self.tokens[name]), "scopes": list(map(str, tokens[name]))} for name in tokens
        }
        (self.folder / "tokens.toml").write_text(tomli_w.dumps(document))

    def write_users(self, users: Mapping[str, Sequence[Scope]], password: str = PASSWORD) -> None:
        """Let people in."""
        kept = hash_password(password)
        document = {name: {"password": kept, "scopes": list(map(str, users[name]))} for name in users}
        (self.folder / "users.toml").write_text(tomli_w.dumps(document))

    def api(self, token: str = "all") -> httpx.Client:
        """A program with a token by its name."""
        return httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {self.tokens[token]}"},
            timeout=30,
            trust_env=False,
            verify=NO_TLS,
        )

    def browser(self) -> "Browser":
        """A person who has not signed in."""
        return Browser(self.url)


class Browser:
    """Pages and forms, cookies kept, no script."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False, verify=NO_TLS)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """A page, redirects followed."""
        return self.http.get(path, follow_redirects=True, **more)

    def post(self, path: str, page: str, fields: Mapping[str, Any]) -> httpx.Response:
        """A form of a page, with the token that the page has in its forms; redirects followed."""
        token = form_token(self.get(page).text)
        return self.http.post(path, data={"form_token": token, **fields}, follow_redirects=True)

    def sign_in(self, user: str = "ada", password: str = PASSWORD) -> httpx.Response:
        """Fill the form in."""
        return self.post("/sign-in", "/sign-in", {"user": user, "password": password})


def form_token(page: str) -> str:
    """What a page has in its forms."""
    found = _FORM_TOKEN.search(page)
    assert found is not None, page
    return found[1]
