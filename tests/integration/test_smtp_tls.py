"""TLS over real sockets: what each mode takes, falls back to, remembers and logs."""

import ssl
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog.testing

from services.sender.broken_tls import BrokenTls
from services.sender.channel import Channel
from services.sender.connection import Connection, Unreachable
from shared.contracts.work import TlsMode
from shared.durations import Duration
from shared.settings import Fallback
from tests.support.certificates import Authority, speaks_only
from tests.support.connections import BYE, HELLO, OFFER, SOON, all_results, at, opened, reached, verdict
from tests.support.sinks import RecordingSink
from tests.support.smtp_script import scripted
from tests.support.transcript import CONTENT_LINES, in_words, mail, told

NONE, ENABLE, REQUIRE = TlsMode.NONE, TlsMode.ENABLE, TlsMode.REQUIRE
ON_465 = ("127.0.0.46", 465)  # an address of this machine's that nobody else uses
SECURED = f"{OFFER}C: STARTTLS\nS: 220 go\nH: handshake\nC: EHLO us.example\nS: 250 mx.example"


@pytest.mark.checklist(120)
def test_none_never_negotiates_tls(run):
    async def scenario() -> None:
        async with scripted(f"{OFFER}{BYE}") as mx:
            connection = await opened(at(mx.port, tls=NONE))
            assert connection.channel.tls == ""
            await connection.quit()

    run(scenario())


@pytest.mark.parametrize("mode", [ENABLE, REQUIRE])
def test_tls_where_it_is_offered(run, certificate, authority, mode):
    async def scenario() -> None:
        async with scripted(f"{SECURED}{BYE}", certificate=certificate) as mx:
            connection = await opened(at(mx.port, tls=mode, ca_file=str(authority.file)))
            assert connection.channel.tls == "TLSv1.3"
            await connection.quit()

    run(scenario())


REFUSALS = [f"{OFFER}C: STARTTLS\nS: {reply}{BYE}" for reply in ("454 4.7.0 not now", "501 what?", "554 no")]


@pytest.mark.checklist(121)
@pytest.mark.parametrize("dialogue", [f"{HELLO}{BYE}", *REFUSALS])
def test_require_sends_nothing_to_a_server_without_tls(run, dialogue):
    async def scenario() -> None:
        async with scripted(dialogue) as mx:
            assert in_words(await verdict(at(mx.port, tls=REQUIRE))) == "deferred 451 4.7.4"

    run(scenario())


@pytest.mark.checklist(122)
@pytest.mark.parametrize("dialogues", [[f"{HELLO}{BYE}"], *([refusal, f"{HELLO}{BYE}"] for refusal in REFUSALS)])
def test_enable_goes_on_in_plaintext_where_tls_is_not_offered_or_refused(run, dialogues):
    async def scenario() -> None:
        async with scripted(*dialogues) as mx:
            connection = await opened(at(mx.port, tls=ENABLE))
            assert connection.channel == Channel()
            await connection.quit()

    run(scenario())


@pytest.mark.checklist(122)
def test_a_454_to_starttls_defers_where_it_is_set_so(run):
    careful = Fallback(starttls_454="defer")

    async def scenario() -> None:
        async with scripted(REFUSALS[0], REFUSALS[1], f"{HELLO}{BYE}") as mx:
            outcome = await verdict(at(mx.port, tls=ENABLE), fallback=careful)
            assert in_words(outcome) == "deferred 451 4.7.4"
            # A 5yz says that it never has TLS, whatever it offers.
            await (await opened(at(mx.port, tls=ENABLE), fallback=careful)).quit()

    run(scenario())


BROKEN = [
    f"{OFFER}C: STARTTLS\nS: 220 go\nC: ...\nS: no TLS record at all\nX: hangs up",
    f"{OFFER}C: STARTTLS\nS: 220 go\nS: 250 injected\nW: waits",
    f"{OFFER}C: STARTTLS\nS: 220 go\nX: hangs up",
    f"{OFFER}C: STARTTLS\nX: hangs up",
    f"{OFFER}C: STARTTLS\nS: 220 go\nW: waits",
]


@pytest.mark.checklist(122, 124)
@pytest.mark.parametrize("broken", BROKEN)
def test_a_failed_handshake_is_followed_by_a_new_connection_in_plaintext(run, broken):
    async def scenario() -> None:
        async with scripted(broken, f"{OFFER}{ENVELOPE_ALONE}{BYE}") as mx:
            with structlog.testing.capture_logs() as log:
                connection = await opened(at(mx.port, tls=ENABLE), handshake=SOON)
            assert connection.channel.tls == ""
            assert [(line["event"], line.get("next")) for line in log] == [
                ("tls_failed", "try_plaintext"),
                ("connected", None),
            ]
            connection.submit([mail(1)])
            assert told(await all_results(connection)) == ["1: delivered 250 queued"]
            await connection.quit()

    run(scenario())


ENVELOPE_ALONE = f"""
C: MAIL FROM:<a@sender.example>
S: 250 ok
C: RCPT TO:<b@mx.example>
S: 250 ok
C: DATA
S: 354 go
{CONTENT_LINES}
S: 250 queued
"""


@pytest.mark.checklist(121, 124)
@pytest.mark.parametrize("broken", BROKEN)
def test_a_failed_handshake_sends_nothing_where_tls_is_required(run, broken):
    async def scenario() -> None:
        async with scripted(broken) as mx:
            outcome = in_words(await verdict(at(mx.port, tls=REQUIRE, verify=False), handshake=SOON))
            assert outcome in ("deferred 451 4.7.5", "deferred 451 4.4.2")
            assert b"MAIL" not in mx.heard[0]

    run(scenario())


@pytest.mark.checklist(132)
@pytest.mark.parametrize("fails", [BROKEN[0], *REFUSALS])
def test_the_next_host_comes_before_plaintext(run, certificate, fails):
    async def scenario() -> None:
        async with scripted(fails) as first, scripted(f"{SECURED}{BYE}", certificate=certificate) as second:
            connection = await opened(at(first.port, second.port, tls=ENABLE))
            assert connection.host.endswith(f":{second.port}")
            assert connection.channel.tls
            await connection.quit()
            assert first.connections == 1

    run(scenario())


@pytest.mark.checklist(131)
def test_a_host_whose_tls_is_broken_gets_its_mail_in_plaintext_at_once_for_a_while(run):
    plain = f"{OFFER}{BYE}"

    async def scenario() -> None:
        memory = BrokenTls()
        async with scripted(BROKEN[0], plain, plain, BROKEN[0], plain, BROKEN[0]) as mx:
            for remember in (timedelta(hours=1), timedelta(hours=1), timedelta(0)):
                fallback = Fallback(remember=Duration(seconds=remember.total_seconds()))
                connection = await opened(at(mx.port, tls=ENABLE), fallback=fallback, broken_tls=memory)
                assert connection.channel == Channel()
                await connection.quit()
            assert [b"STARTTLS" in heard for heard in mx.heard] == [True, False, False, True, False]
            # What is remembered changes nothing where TLS is required.
            outcome = await verdict(at(mx.port, tls=REQUIRE, verify=False), broken_tls=memory)
            assert in_words(outcome) == "deferred 451 4.7.5"

    run(scenario())


@pytest.mark.checklist(131, 132)
def test_a_host_with_tls_comes_before_one_whose_tls_is_remembered_as_broken(run, certificate):
    async def scenario() -> None:
        memory = BrokenTls()
        async with (
            scripted(BROKEN[0], f"{OFFER}{BYE}") as first,
            scripted(f"{SECURED}{BYE}", certificate=certificate) as second,
        ):
            await (await opened(at(first.port, tls=ENABLE), broken_tls=memory)).quit()
            connection = await opened(at(first.port, second.port, tls=ENABLE), broken_tls=memory)
            assert connection.channel.tls
            await connection.quit()

    run(scenario())


@pytest.mark.checklist(131)
@pytest.mark.parametrize("reply", ["454 4.7.0 not now", "421 4.3.2 busy"])
def test_a_host_that_has_no_tls_for_now_is_asked_again_by_the_next_connection(run, certificate, reply):
    async def scenario() -> None:
        memory = BrokenTls()
        for_now = f"{OFFER}C: STARTTLS\nS: {reply}{BYE}"
        async with scripted(for_now, f"{HELLO}{BYE}", f"{SECURED}{BYE}", certificate=certificate) as mx:
            for tls in ("", "TLSv1.3"):
                connection = await opened(at(mx.port, tls=ENABLE), broken_tls=memory)
                assert connection.channel.tls == tls
                await connection.quit()

    run(scenario())


def test_a_host_that_is_down_is_not_remembered_as_one_whose_tls_is_broken(run, certificate):
    async def scenario() -> None:
        memory = BrokenTls()
        both_fail = (BROKEN[0], "S: 421 4.3.2 busy\nX: hangs up")
        async with scripted(*both_fail, f"{SECURED}{BYE}", certificate=certificate) as mx:
            assert "421" in in_words(await verdict(at(mx.port, tls=ENABLE), broken_tls=memory))
            connection = await opened(at(mx.port, tls=ENABLE), broken_tls=memory)
            assert connection.channel.tls
            await connection.quit()

    run(scenario())


@pytest.mark.checklist(128)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_a_server_that_has_nothing_above_tls_1_1_has_no_tls(run, certificate, version):
    old = replace(certificate, adjust=speaks_only(version))

    async def scenario(sink: RecordingSink) -> None:
        outcome = await verdict(at(sink.port, tls=REQUIRE, verify=False))
        assert in_words(outcome) == "deferred 451 4.7.5"
        connection = await opened(at(sink.port, tls=ENABLE))
        assert connection.channel == Channel()
        await connection.quit()
        assert not any(command.startswith("MAIL") for one in sink.connections for command in one.commands)

    with RecordingSink(certificate=old) as sink:
        run(scenario(sink))


def test_enable_takes_old_keys_and_ciphers_rather_than_plaintext(run, authority):
    def of_2010(context: ssl.SSLContext) -> None:
        speaks_only(ssl.TLSVersion.TLSv1_2)(context)
        context.set_ciphers("AES128-SHA:@SECLEVEL=0")

    weak = replace(authority.issue("localhost", rsa_bits=1024), adjust=of_2010)

    async def scenario(sink: RecordingSink) -> None:
        connection = await opened(at(sink.port, tls=ENABLE))
        assert (connection.channel.tls, connection.channel.cipher) == ("TLSv1.2", "AES128-SHA")
        await connection.quit()
        assert in_words(await verdict(at(sink.port, tls=REQUIRE, verify=False))) == "deferred 451 4.7.5"

    with RecordingSink(certificate=weak) as sink:
        run(scenario(sink))


@pytest.mark.checklist(123)
@pytest.mark.parametrize(
    ("names", "options", "says"),
    [
        (["localhost"], {}, "valid"),
        (["localhost"], {"expired": True}, "not valid: it has expired ("),
        (["localhost"], {"self_signed": True}, "not valid: it is self-signed"),
        (["other.example"], {}, "not valid: it is not for localhost"),
    ],
)
@pytest.mark.parametrize("site", ["relay:x", "mx:localhost"])
def test_enable_takes_any_certificate_and_logs_what_is_wrong_with_it(run, authority, names, options, says, site):
    async def scenario(sink: RecordingSink) -> None:
        with structlog.testing.capture_logs() as log:
            connection = await opened(at(sink.port, site=site, tls=ENABLE, ca_file=str(authority.file)))
        await connection.quit()
        [line] = log
        assert (line["event"], line["tls"], line["host"]) == ("connected", "TLSv1.3", connection.host)
        assert line["cipher"].startswith("TLS_")
        assert line["certificate"].startswith(says)

    with RecordingSink(certificate=authority.issue(*names, **options)) as sink:
        run(scenario(sink))


@pytest.mark.parametrize(
    ("names", "expired", "site", "mode", "verify", "trusted", "says"),
    [
        (["localhost"], False, "relay:x", REQUIRE, True, True, ""),
        (["localhost"], False, "relay:x", REQUIRE, True, False, "the server's certificate is refused"),
        (["other.example"], False, "relay:x", REQUIRE, True, True, "Hostname mismatch"),
        (["localhost"], True, "relay:x", REQUIRE, True, True, "certificate has expired"),
        (["other.example"], True, "relay:x", REQUIRE, False, False, ""),
        (["other.example"], True, "relay:x", ENABLE, True, False, ""),
        (["other.example"], True, "mx:localhost", REQUIRE, True, False, ""),
    ],
)
def test_who_is_trusted(run, authority, tmp_path, names, expired, site, mode, verify, trusted, says):
    authorities = authority.file if trusted else Authority(tmp_path).file

    async def scenario(sink: RecordingSink) -> None:
        connected = await reached(at(sink.port, site=site, tls=mode, verify=verify, ca_file=str(authorities)))
        if says:
            assert isinstance(connected, Unreachable)
            assert in_words(connected.outcome) == "deferred 451 4.7.5"
            assert says in connected.outcome.reply.text
        else:
            assert isinstance(connected, Connection)
            assert connected.channel.tls
            await connected.quit()

    with RecordingSink(certificate=authority.issue(*names, expired=expired)) as sink:
        run(scenario(sink))


@pytest.mark.checklist(129)
@pytest.mark.parametrize(
    ("name", "sni"),
    [
        ("localhost", "localhost"),
        ("localhost.", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("127.0.0.1", None),
        ("[::1]", None),
    ],
)
def test_the_servers_name_is_said_in_the_handshake_but_never_an_address(run, certificate, name, sni):
    async def scenario() -> None:
        async with scripted(f"{SECURED}{BYE}", certificate=certificate) as mx:
            await (await opened(at(mx.port, name=name, tls=ENABLE))).quit()
            assert mx.sni == [sni]

    run(scenario())


def test_an_address_as_the_relays_name_is_looked_for_in_the_certificate(run, authority):
    async def scenario(sink: RecordingSink) -> None:
        route = at(sink.port, name="127.0.0.1", tls=REQUIRE, ca_file=str(authority.file))
        await (await opened(route)).quit()

    with RecordingSink(certificate=authority.issue("127.0.0.1")) as sink:
        run(scenario(sink))


def test_a_certificate_that_stands_in_the_file_of_authorities_is_trusted_itself(run, authority):
    own = authority.issue("localhost", self_signed=True)

    async def scenario(sink: RecordingSink) -> None:
        connection = await opened(at(sink.port, tls=REQUIRE, ca_file=str(own.certificate)))
        assert connection.channel.certificate == "verified"
        await connection.quit()

    with RecordingSink(certificate=own) as sink:
        run(scenario(sink))


def test_authorities_that_can_not_be_read_defer(run, tmp_path):
    async def scenario() -> None:
        outcome = await verdict(at(1, tls=REQUIRE, ca_file=str(tmp_path / "none.pem")))
        assert in_words(outcome) == "deferred 451 4.7.5"

    run(scenario())


@pytest.mark.checklist(130)
@pytest.mark.parametrize("mode", [ENABLE, REQUIRE])
def test_port_465_speaks_tls_at_once(run, certificate, authority, mode):
    async def scenario() -> None:
        async with scripted(f"H: handshake{HELLO}{BYE}", certificate=certificate, address=ON_465) as mx:
            connection = await opened(at(mx.port, address=mx.address, tls=mode, ca_file=str(authority.file)))
            assert connection.channel.tls
            await connection.quit()

    run(scenario())


@pytest.mark.checklist(130)
def test_another_port_speaks_tls_at_once_where_it_is_set_so(run, certificate, authority):
    async def scenario() -> None:
        async with scripted(f"H: handshake{HELLO}{BYE}", certificate=certificate) as mx:
            connection = await opened(at(mx.port, tls=REQUIRE, ca_file=str(authority.file), implicit_tls=True))
            assert connection.channel.certificate == "verified"
            await connection.quit()

    run(scenario())


@pytest.mark.checklist(120)
def test_port_465_speaks_plaintext_where_there_is_to_be_no_tls(run):
    async def scenario() -> None:
        async with scripted(f"{HELLO}{BYE}", address=ON_465) as mx:
            connection = await opened(at(mx.port, address=mx.address, tls=NONE))
            await connection.quit()

    run(scenario())


def test_a_server_without_tls_on_port_465_gets_no_mail_where_tls_is_required(run):
    async def scenario() -> None:
        async with scripted("S: 220 mx.example\nW: waits", address=ON_465) as mx:
            outcome = await verdict(at(mx.port, address=mx.address, tls=REQUIRE, verify=False))
            assert in_words(outcome) == "deferred 451 4.7.5"
            assert b"MAIL" not in mx.heard[0]

    run(scenario())
