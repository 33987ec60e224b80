"""What a server takes in one transaction and over one session (RFC 5321 section 4.5.3.1.8, RFC 9422). Pure."""

from services.sender.extensions import ServerLimits
from services.sender.session_mails import Job

MAX_RECIPIENTS = 100  # in one transaction; a server must take as many (RFC 5321 section 4.5.3.1.8)
_MOST_RECIPIENTS = 1000  # whatever it says: their commands and replies are held in memory


class SessionLimits:
    """Keeps count, and says who can still be named."""

    def __init__(self, stated: ServerLimits) -> None:
        self._recipients = min(stated.recipients or MAX_RECIPIENTS, _MOST_RECIPIENTS)
        self._transactions = stated.transactions  # left; None: no limit
        self._most_domains = stated.domains
        self._domains: set[str] = set()  # named in this session

    def next_batch(self, job: Job) -> list[tuple[int, str]]:
        """Take recipients of the mail for another transaction; none, when the session has no room for any of them."""
        if self._transactions is not None:
            if not self._transactions:
                return []
            self._transactions -= 1
        if self._most_domains is None:
            batch, job.rest = job.rest[: self._recipients], job.rest[self._recipients :]
            return batch
        return self._batch_of_few_domains(job, self._most_domains)

    def _batch_of_few_domains(self, job: Job, most: int) -> list[tuple[int, str]]:
        batch: list[tuple[int, str]] = []
        rest: list[tuple[int, str]] = []
        for entry in job.rest:
            domain = job.mail.recipients[entry[0]].rpartition("@")[2].lower()
            fits = domain in self._domains or len(self._domains) < most
            if fits and len(batch) < self._recipients:
                self._domains.add(domain)
                batch.append(entry)
            else:
                rest.append(entry)
        job.rest = rest
        return batch
