"""Sessions, guessing, accounts, the console's environment: what lets somebody in, and what does not."""

import pytest

from services.console.attempts import Attempts
from services.console.environment import read_places
from services.console.sessions import Sessions
from shared.console_accounts import Scope, User, parse_tokens, parse_users, token_hash
from shared.environment import InvalidEnvironment
from shared.refusals import Invalid

ADA = User(password="$argon2id$x", scopes=(Scope.READ,))


def sessions(user: User | None = ADA, *, secure: bool = False) -> Sessions:
    return Sessions(b"k" * 32, lambda name: user if name == "ada" else None, secure=secure)


def test_a_session_is_whose_it_was_opened_for():
    found = sessions().find(sessions().open("ada", ADA))
    assert found is not None
    assert (found.user, found.scopes) == ("ada", (Scope.READ,))


@pytest.mark.parametrize(
    "user",
    [None, User(password="$argon2id$y")],  # taken away; another password
)
def test_a_session_ends_with_what_it_was_opened_with(user):
    assert sessions(user).find(sessions().open("ada", ADA)) is None


@pytest.mark.parametrize("cookie", [None, "", "x", "e30.x.y"])
def test_what_we_have_not_signed_is_no_session(cookie):
    assert sessions().find(cookie) is None


def test_a_note_is_no_session_and_a_session_no_note():
    ours = sessions()
    assert ours.find(ours.note("done")) is None
    assert ours.noted(ours.open("ada", ADA)) == ""
    assert ours.noted(ours.note("done")) == "done"


def test_a_form_token_is_of_one_session():
    ours = sessions()
    assert ours.is_form_token(ours.form_token("a"), "a")
    assert not ours.is_form_token(ours.form_token("a"), "b")
    assert not ours.is_form_token("\ud800", "a")


def test_over_tls_the_cookie_is_bound_to_the_host():
    assert sessions(secure=True).set_cookie("v").startswith("__Host-pillarbox=v; Path=/;")
    assert sessions(secure=True).set_cookie("v").endswith("; Secure")


def test_the_sixth_try_waits_longer_each_time_and_others_do_not():
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    waits = []
    for _ in range(8):
        attempts.failed("Ada", "192.0.2.1")
        waits.append(attempts.wait("ada", "192.0.2.1"))
    assert waits == [0, 0, 0, 0, 2, 4, 8, 16]
    assert attempts.wait("ada", "192.0.2.2") == attempts.wait("bob", "192.0.2.1") == 0
    now[0] = 16
    assert attempts.wait("ada", "192.0.2.1") == 0
    attempts.succeeded("ada", "192.0.2.1")
    attempts.failed("ada", "192.0.2.1")
    assert attempts.wait("ada", "192.0.2.1") == 0


def test_many_names_from_one_address_are_guessing_too():
    attempts = Attempts(lambda: 0.0)
    for number in range(30):
        attempts.failed(f"user{number}", "192.0.2.1")
    assert attempts.wait("another", "192.0.2.1") > 0


@pytest.mark.parametrize(
    ("parse", "text", "field"),
    [
        (parse_tokens, "x", ""),
        (parse_tokens, '[shop]\nhash = "x"\nscopes = ["read"]', "shop.hash"),
        (parse_tokens, f'[shop]\nhash = "{token_hash("t")}"\nscopes = ["all"]', "shop.scopes[0]"),
        (parse_tokens, f'[shop]\nhash = "{token_hash("t")}"\nscopes = []', "shop.scopes"),
        (parse_users, '[ada]\npassword = "secret"', "ada.password"),
        (parse_users, '[ada]\npasword = "x"', "ada.pasword"),
        (parse_users, '["a b"]\npassword = "x"', "name"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_the_name_of_the_account(parse, text, field):
    with pytest.raises(Invalid) as refused:
        parse(text)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"PILLARBOX_CONSOLE_LISTEN": "8025"}, "PILLARBOX_CONSOLE_LISTEN"),
        ({"PILLARBOX_CONSOLE_LISTEN": "127.0.0.1:70000"}, "PILLARBOX_CONSOLE_LISTEN"),
        ({"PILLARBOX_CONSOLE_URL": "mail.example.org"}, "PILLARBOX_CONSOLE_URL"),
        ({"PILLARBOX_CONSOLE_SESSION_KEY": "/nowhere"}, "PILLARBOX_CONSOLE_SESSION_KEY"),
    ],
)
def test_a_variable_that_is_wrong_is_named(variables, says):
    with pytest.raises(InvalidEnvironment, match=says):
        read_places(variables)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:8025", ("127.0.0.1", 8025, None)),
        ("[::1]:0", ("::1", 0, None)),
        ("fd:7", ("", 0, 7)),
    ],
)
def test_where_it_listens(text, place):
    places = read_places({"PILLARBOX_CONSOLE_LISTEN": text})
    assert (places.host, places.port, places.fd) == place
