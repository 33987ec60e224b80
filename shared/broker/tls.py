"""TLS to the broker: the files that a URL names, and what is to be done where no connection comes about.

The parameters are those of RabbitMQ's own URLs: `amqps://user@host/vhost?cacertfile=…&certfile=…&keyfile=…`.
"""

import ssl
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pika

from shared.broker.errors import BrokerRefused

_FILES = ("cacertfile", "certfile", "keyfile")
_URL = "PILLARBOX_AMQP_URL"

# OpenSSL's words, the first that fit, and what they mean here. All of this stays as it is until somebody mends it.
_TROUBLES = (
    ("mismatch", f"its certificate is for another name: write the broker's name in {_URL} as its certificate has it"),
    ("certificate has expired", "its certificate has expired: give the broker a new one"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        f"its certificate is of no authority that is trusted here: name the authority's file in {_URL}, "
        "cacertfile=FILE",
    ),
    ("CERTIFICATE_REQUIRED", f"it wants a client certificate: name one in {_URL}, certfile=FILE&keyfile=FILE"),
    (
        "HANDSHAKE_FAILURE",
        f"it breaks the handshake off: it may want a client certificate (certfile=FILE&keyfile=FILE in {_URL}), "
        "or TLS older than 1.2",
    ),
    ("ALERT_BAD_CERTIFICATE", "it refuses our client certificate: certfile has to be of an authority that it trusts"),
    ("ALERT_UNKNOWN_CA", "it refuses our client certificate: certfile has to be of an authority that it trusts"),
    ("ALERT_CERTIFICATE_EXPIRED", "our client certificate has expired: certfile has to be a new one"),
    ("WRONG_VERSION_NUMBER", "it speaks no TLS at this port: amqps:// goes with its TLS port, as a rule 5671"),
)


def trouble(error: BaseException) -> str | None:
    """What keeps TLS from coming about and what to do, in one line; None where it is something else."""
    said = str(error)
    return next((sentence for words, sentence in _TROUBLES if "SSL" in said and words in said), None)


def split_off(url: str) -> tuple[str, dict[str, str]]:
    """The URL without the names of files, and these. Raises BrokerRefused for files that do not go together."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    files = {name: value for name, value in query if name in _FILES}
    if files and parts.scheme != "amqps":
        raise BrokerRefused(f"{_URL}: {next(iter(files))} goes with amqps://")
    if "keyfile" in files and "certfile" not in files:
        raise BrokerRefused(f"{_URL}: keyfile goes with certfile")
    rest = urlencode([pair for pair in query if pair[0] not in _FILES])
    return urlunsplit(parts._replace(query=rest)), files


def options(files: dict[str, str], host: str) -> pika.SSLOptions:
    """How to secure a connection to this host: its certificate is verified, whatever the URL says.

    Raises BrokerRefused that names the file which can not be used.
    """
    for name, path in files.items():
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise BrokerRefused(f"{_URL}: {name}: can not read {path}: {error.strerror}") from error
    return pika.SSLOptions(_context(**files), host)


def _context(cacertfile: str = "", certfile: str = "", keyfile: str = "") -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=cacertfile or None)
    except ssl.SSLError as error:
        raise BrokerRefused(f"{_URL}: cacertfile: there is no certificate in {cacertfile} (PEM)") from error
    # As the senders do (services/sender/tls.py): alike under every Python, and what stands in the file is trusted.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    if certfile:
        try:
            context.load_cert_chain(certfile, keyfile or None, password=lambda: "")  # never asked for at a terminal
        except ssl.SSLError as error:
            key = keyfile or certfile
            raise BrokerRefused(
                f"{_URL}: certfile: {certfile} and the key in {key} can not be used together: both in PEM, the key its "
                "own and not encrypted"
            ) from error
    return context
