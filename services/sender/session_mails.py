"""The mails of one SMTP session: which wait, which are under way, and what became of each. No protocol here."""

from collections import deque
from collections.abc import Iterable

import msgspec

from services.sender.envelope import OutgoingMail
from shared.outcomes import Bounced, Deferred, Outcome, Parked
from shared.smtp_reply import Reply, Severity, severity

# These say that we must sign in or secure the connection first (RFC 4954 section 6, RFC 3207 section 4): a fault of
# our settings and no verdict on the mail, so the mail waits until the settings are right.
OUR_FAULT = frozenset({530, 534, 535, 538})
# A command came in the wrong place: a disorder between two programs, which a new connection ends, and no verdict
# either.
_DISORDER = 503


NOT_OURS = "its claim has run out: the sender slept, or the store was away"


class Sent(msgspec.Struct, frozen=True):
    """Each recipient has an outcome."""

    mail: OutgoingMail
    outcomes: tuple[Outcome, ...]  # one per recipient, in order


class Untouched(msgspec.Struct, frozen=True):
    """Nothing of the mail was decided: it may go over another connection, and no attempt is counted."""

    mail: OutgoingMail
    reason: str


MailResult = Sent | Untouched


class Job:
    """A mail under way, over as many transactions as it needs."""

    __slots__ = ("command", "mail", "outcomes", "postponed", "refusal", "rest", "touched", "undecided")

    def __init__(self, mail: OutgoingMail) -> None:
        self.mail = mail
        self.command = ""  # MAIL
        self.rest: list[tuple[int, str]] = []  # for transactions to come: index of the recipient, RCPT command
        self.outcomes: list[Outcome | None] = [None] * len(mail.recipients)
        self.undecided = len(mail.recipients)
        self.postponed: dict[int, Deferred] = {}  # refused as too many: the outcome, if no other try changes it
        self.refusal: Reply | None = None  # of MAIL, and so of every recipient
        self.touched = False  # the server has answered something of it


def refused(reply: Reply, host: str) -> Deferred | Bounced:
    """The outcome of a reply other than 2yz and 3yz."""
    permanent = severity(reply) is Severity.PERMANENT and reply.code not in OUR_FAULT and reply.code != _DISORDER
    return Bounced(reply, host) if permanent else Deferred(reply, host)


class SessionMails:
    """Every mail that comes in by `waiting` goes out by `results`, once."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.results: list[MailResult] = []  # the caller takes them out
        self.begun = 0  # mails taken up, so far
        self.served = 0  # mails with outcomes, so far
        self.waiting: deque[OutgoingMail] = deque()
        self.jobs: deque[Job] = deque()  # taken up, and not every outcome known

    @property
    def in_flight(self) -> int:
        """Mails without a result."""
        return len(self.waiting) + len(self.jobs)

    def take_up(self) -> Job | None:
        """The next mail that waits."""
        if not self.waiting:
            return None
        job = Job(self.waiting.popleft())
        self.jobs.append(job)
        self.begun += 1
        return job

    def decide(self, job: Job, indices: Iterable[int], outcome: Outcome) -> None:
        """Some recipients, none of whom has an outcome, get this one."""
        for index in indices:
            job.outcomes[index] = outcome
            job.undecided -= 1
        if not job.undecided:
            self.finish(job)

    def decide_rest(self, job: Job, outcome: Outcome) -> None:
        """All recipients without an outcome get this one; nothing more of the mail is sent."""
        job.rest = []
        job.postponed.clear()
        self.decide(job, _open_indices(job), outcome)

    def decide_postponed(self, job: Job) -> None:
        """Recipients that were too many, and for whom no other transaction is to come, get what they were told."""
        waiting = {index for index, _ in job.rest}
        for index in [index for index in job.postponed if index not in waiting]:
            self.decide(job, [index], job.postponed.pop(index))

    def put_back(self, reason: str) -> None:
        """Mails that were not taken up will not be."""
        while self.waiting:
            self.results.append(Untouched(self.waiting.popleft(), reason))

    def give_back(self, job: Job, reason: str) -> None:
        """The session has no room for what is left of a mail, nor for those that wait behind it."""
        indices = [index for index, _ in job.rest]
        job.rest = []
        if indices == list(range(len(job.outcomes))) and not job.touched:
            self.jobs.remove(job)
            self.results.append(Untouched(job.mail, reason))
        else:
            job.postponed.clear()
            self.decide(job, indices, Parked(reason))
        self.put_back(reason)

    def dismiss(self, reply: Reply, suspect: Job | None, in_doubt: Job | None, accepted: Iterable[int] = ()) -> None:
        """The session is over: settle all mails that are left.

        Deferred, with `reply`, is the mail under way: one that the server has answered something of, or `suspect`,
        on which the end is blamed. `accepted` recipients of `in_doubt` were accepted, and the mail's final dot was
        sent. All other mails come back untouched. So that a server which always hangs up makes no endless loop, a
        session that served nobody charges its first mail.
        """
        if suspect is None and not self.served and not any(job.touched for job in self.jobs):
            suspect = self.jobs[0] if self.jobs else self.take_up()
        for job in list(self.jobs):
            if job is in_doubt:
                # RFC 1047: the server may have taken the mail, and only its answer is missing.
                self.decide(job, accepted, Deferred(reply, self.host, in_doubt=True))
            if job is suspect or job.touched:
                self._settle(job, reply)
            else:
                self.jobs.remove(job)
                self.results.append(Untouched(job.mail, str(reply)))
        self.put_back(str(reply))

    def _settle(self, job: Job, reply: Reply) -> None:
        if job.refusal is not None:
            # What the server said of the mail counts for more than that it hung up afterwards.
            self.decide_rest(job, refused(job.refusal, self.host))
        job.rest = []
        self.decide_postponed(job)
        self.decide_rest(job, Deferred(reply, self.host))

    def finish(self, job: Job) -> None:
        """Every recipient has an outcome."""
        if job in self.jobs:
            self.jobs.remove(job)  # nearly always the first
            self.served += 1
            self.results.append(Sent(job.mail, tuple(filter(None, job.outcomes))))


def _open_indices(job: Job) -> list[int]:
    return [index for index, outcome in enumerate(job.outcomes) if outcome is None]
