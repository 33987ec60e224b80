"""A server that takes SCRAM-SHA-256-PLUS over TLS: for what no server in Debian does over SMTP, binding to the channel.

Its end of the channel is its own TLS socket's; the messages are checked by scramp's server side.
"""

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import scramp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.certificates import Certificate


@dataclass
class ScramServer:
    """The server; one user, one connection."""

    certificate: Certificate
    binding: str  # the only one it takes: "tls-unique" or "tls-server-end-point"
    user: str
    password: str
    port: int = 0
    verdicts: list[str] = field(default_factory=list)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from the greeting to QUIT."""
        writer.write(b"220 mx.example\r\n")
        await reader.readline()
        writer.write(b"250-mx.example\r\n250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go\r\n")
        await writer.start_tls(self.certificate.server_context())
        await reader.readline()
        writer.write(b"250-mx.example\r\n250 AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256\r\n")
        _, mechanism, first = (await reader.readline()).split()
        verdict = await self._sign_in(mechanism.decode(), first, reader, writer)
        self.verdicts.append(verdict)
        writer.write(b"235 2.7.0 welcome\r\n" if verdict == mechanism.decode() else b"535 5.7.8 no\r\n")
        await reader.readline()
        writer.write(b"221 bye\r\n")
        writer.close()

    async def _sign_in(
        self, mechanism: str, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> str:
        kind = scramp.ScramMechanism(mechanism)
        known = kind.make_auth_info(self.password)
        bound = (self.binding, self._data(writer.get_extra_info("ssl_object")))
        server = kind.make_server(lambda user: known if user == self.user else None, channel_binding=bound)
        try:
            server.set_client_first(base64.b64decode(first).decode())
            server.set_client_final((await _ask(server.get_server_first(), reader, writer)).decode())
            assert await _ask(server.get_server_final(), reader, writer) == b""
        except scramp.ScramException as error:
            return str(error)
        return mechanism

    def _data(self, secured: ssl.SSLObject) -> bytes:
        if self.binding == "tls-unique":
            return secured.get_channel_binding("tls-unique") or b""
        pem = self.certificate.certificate.read_bytes()
        return hashlib.sha256(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)).digest()


async def _ask(challenge: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"334 " + base64.b64encode(challenge.encode()) + b"\r\n")
    return base64.b64decode((await reader.readline()).strip())


@asynccontextmanager
async def scram_server(
    certificate: Certificate, binding: str, user: str = "robot", password: str = "s3cret"
) -> AsyncIterator[ScramServer]:
    """A server on a port of its own."""
    server = ScramServer(certificate, binding, user, password)
    async with await asyncio.start_server(server.meet, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server
