"""Sessions of people: a signed cookie, and what keeps other sites from using it.

Nothing is kept of a session but that it was ended, and that by the process that ended it; so any process with the same
key takes it, and a restart ends none where the key lies in a file.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

import itsdangerous
import msgspec

from shared.console_accounts import EVERYTHING, Scope, User

LASTS_S = 12 * 3600  # a working day; then the password is asked for again
_NOTE_LASTS_S = 60  # a page that is loaded again later has nothing to say
LINK_USER = "owner"  # who signs in by the one-time link

_COOKIE, _SECURE_COOKIE = "pillarbox", "__Host-pillarbox"  # RFC 6265bis section 4.1.3.2: of this host alone, over TLS
_BY_LINK = "link"


class Session(msgspec.Struct, frozen=True):
    """Somebody who has signed in."""

    id: str
    user: str
    scopes: tuple[Scope, ...]


class _Signed(msgspec.Struct, frozen=True, array_like=True):
    """What the cookie says."""

    id: str
    user: str
    credential: str  # a mark of what it was signed in with: a new password ends the sessions of the former


class Sessions:
    """Opens, recognises and ends sessions."""

    def __init__(self, key: bytes | None, user: Callable[[str], User | None], *, secure: bool) -> None:
        """`user` looks a person up; `secure`: cookies travel over TLS alone."""
        self._key = key or secrets.token_bytes(32)
        self._signer = itsdangerous.URLSafeTimedSerializer(self._key, salt="session", signer_kwargs={
            "key_derivation": "hmac", "digest_method": hashlib.sha256,
        })  # fmt: skip
        self._user = user
        self.secure = secure
        self._ended: dict[str, float] = {}  # by id, until when it would have lasted

    @property
    def cookie(self) -> str:
        """The cookie's name."""
        return _SECURE_COOKIE if self.secure else _COOKIE

    def open(self, name: str, user: User | None) -> str:
        """The cookie of a new session; of the link's where there is no user."""
        return self._dumped(_Signed(secrets.token_urlsafe(16), name, _BY_LINK if user is None else _mark(user)))

    def _dumped(self, signed: _Signed) -> str:
        return str(self._signer.dumps(msgspec.to_builtins(signed)))

    def find(self, cookie: str | None) -> Session | None:
        """Whose session it is; None where it is none, or is over."""
        if not cookie:
            return None
        try:
            signed = msgspec.convert(self._signer.loads(cookie, max_age=LASTS_S), _Signed)
        except (itsdangerous.BadData, msgspec.ValidationError):
            return None
        if signed.id in self._ended:
            return None
        if signed.credential == _BY_LINK:
            return Session(signed.id, signed.user, EVERYTHING)
        user = self._user(signed.user)
        if user is None or signed.credential != _mark(user):
            return None
        return Session(signed.id, signed.user, user.scopes)

    def end(self, session: Session) -> None:
        """Sign out."""
        now = time.monotonic()
        self._ended = {known: until for known, until in self._ended.items() if until > now}
        self._ended[session.id] = now + LASTS_S

    def set_cookie(self, value: str) -> str:
        """The header `Set-Cookie` that keeps a session; that forgets it, for an empty value."""
        age = LASTS_S if value else 0
        secure = "; Secure" if self.secure else ""
        return f"{self.cookie}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"

    def note(self, text: str) -> str:
        """A sentence for the next page, in its address; nobody else can put one there."""
        return str(self._signer.dumps(text, salt="note"))

    def noted(self, value: str) -> str:
        """The sentence; "" for none, or an old one."""
        try:
            return str(self._signer.loads(value, max_age=_NOTE_LASTS_S, salt="note")) if value else ""
        except itsdangerous.BadData:
            return ""

    def form_token(self, of: str) -> str:
        """What a form has to bring with it, by the session's id: another site can not know it."""
        return hmac.new(self._key, b"form\0" + of.encode(), hashlib.sha256).hexdigest()

    def is_form_token(self, given: str, of: str) -> bool:
        """Whether a form brought the right one."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.form_token(of).encode())


def _mark(user: User) -> str:
    return hashlib.sha256(user.password.encode()).hexdigest()[:16]
