"""The gateway's certificate: one context for all handshakes, given the new certificate when the files change."""

import ssl

import structlog

from services.gateway.place import CertificateFiles
from shared.environment import InvalidEnvironment
from shared.file_watch import FileWatch

log = structlog.get_logger()


class Certificate:
    """What clients are shown."""

    def __init__(self, files: CertificateFiles) -> None:
        """Raises InvalidEnvironment when the files can not be used."""
        self._files = files
        self._watch = FileWatch(files.certificate, files.key)
        try:
            self.context = _context(files)
        except (OSError, ssl.SSLError) as error:
            raise InvalidEnvironment(f"PILLARBOX_GATEWAY_CERTIFICATE: {_words(files, error)}") from error

    def look(self) -> None:
        """Take a new certificate. One that can not be used changes nothing."""
        if not self._watch.changed():
            return
        try:
            _context(self._files)  # first beside the one in use: half a change would break every handshake
            self.context.load_cert_chain(self._files.certificate, self._files.key)
        except (OSError, ssl.SSLError) as error:
            log.error("certificate_not_read", reason=_words(self._files, error), next="the_former_stays")
        else:
            log.info("certificate_read", file=str(self._files.certificate))


def _context(files: CertificateFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8997
    context.load_cert_chain(files.certificate, files.key, password=_no_password)
    return context


def _no_password() -> str:
    """Nobody is there to be asked."""
    return ""


def _words(files: CertificateFiles, error: Exception) -> str:
    what = getattr(error, "strerror", None) or str(error)
    return f"{files.certificate} with {files.key}: {what}; takes a certificate with its chain, and its key, in PEM"
