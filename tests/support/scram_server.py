"""An SMTP server that binds a sign-in to its TLS channel. What it knows of the channel is its own socket's.

Cyrus SASL judges. Postfix would not do: it leaves Cyrus SASL's channel binding alone.
"""

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.certificates import Certificate
from tests.support.cyrus_sasl import CyrusSasl, add_user

_REALM = "relay.example"


@dataclass
class ScramServer:
    """The server; one user."""

    certificate: Certificate
    binding: str  # the only one it takes: "tls-unique" or "tls-server-end-point"
    offered: str
    database: Path
    another_channel: bool  # it stands between the client and the server that knows the password
    port: int = 0
    verdicts: list[str] = field(default_factory=list)  # the mechanism that was used, or why not

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from the greeting to QUIT."""
        writer.write(b"220 mx.example\r\n")
        await reader.readline()
        writer.write(b"250-mx.example\r\n250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go\r\n")
        await writer.start_tls(self.certificate.server_context())
        await reader.readline()
        writer.write(f"250-mx.example\r\n250 AUTH {self.offered}\r\n".encode())
        _, mechanism, response = (await reader.readline()).split()
        refusal = await self._sign_in(mechanism.decode(), response, reader, writer)
        self.verdicts.append(refusal or mechanism.decode())
        writer.write(b"535 5.7.8 no\r\n" if refusal else b"235 2.7.0 welcome\r\n")
        await reader.readline()
        writer.write(b"221 bye\r\n")
        writer.close()

    async def _sign_in(
        self, mechanism: str, response: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> str:
        data = self._data(writer.get_extra_info("ssl_object"))
        if self.another_channel:
            data = bytes(len(data))
        sasl = CyrusSasl(self.database, _REALM, (self.binding, data))
        challenge = sasl.start(mechanism, base64.b64decode(response))
        while challenge is not None:
            writer.write(b"334 " + base64.b64encode(challenge) + b"\r\n")
            challenge = sasl.step(base64.b64decode((await reader.readline()).strip()))
        sasl.close()
        return sasl.refusal

    def _data(self, secured: ssl.SSLObject) -> bytes:
        if self.binding == "tls-unique":
            return secured.get_channel_binding("tls-unique") or b""
        pem = self.certificate.certificate.read_bytes()
        return hashlib.sha256(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)).digest()


@asynccontextmanager
async def scram_server(
    certificate: Certificate,
    binding: str,
    folder: Path,
    *,
    offered: str = "SCRAM-SHA-256-PLUS SCRAM-SHA-256",
    another_channel: bool = False,
) -> AsyncIterator[ScramServer]:
    """A server on a port of its own, that knows robot by the password s3cret."""
    database = folder / "sasldb2"
    add_user(database, _REALM, "robot", "s3cret")
    server = ScramServer(certificate, binding, offered, database, another_channel)
    async with await asyncio.start_server(server.meet, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server
