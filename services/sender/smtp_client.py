"""Mails over one SMTP session that is open: the transactions, without a socket (RFC 5321, RFC 2920).

Octets from the server go in by `feed`, those for it come out of `to_send`, what became of the mails lies in
`mails.results`, and `deadline` says until when the server may keep us waiting. The clock is an argument.

With PIPELINING, MAIL, RCPT and DATA travel in one group, and the group of the next mail travels with the end of the
content before it: one round trip a mail. Replies are matched to commands by their order alone, so whatever could
shift them ends the session.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from services.sender.envelope import Commands, OutgoingMail, announce
from services.sender.extensions import Extensions
from services.sender.reply_parser import BadReply, ReplyParser
from services.sender.session_limits import SessionLimits
from services.sender.session_mails import NOT_OURS, Job, SessionMails, refused
from shared.outcomes import Bounced, Deferred, Delivered
from shared.settings import Timeouts
from shared.smtp_reply import Reply, own_verdict

_NOTHING = memoryview(b"")
BLOCK = 128 * 1024  # octets of content that are written at once; a larger content waits for each block to leave


class SmtpClient:
    """The sans-IO state machine of an open session."""

    def __init__(
        self, host: str, offered: Extensions, timeouts: Timeouts, parser: ReplyParser, pipelining: bool = True
    ) -> None:
        """`parser` comes from the opening of the session; `pipelining=False` does without the extension."""
        self.mails = SessionMails(host)
        self.deadline = inf
        self.closed = False  # hang up: nothing more is said or heard
        self._host = host
        self._offered = offered
        self._limits = SessionLimits(offered.limits)
        self._parser = parser
        self._pipelining = offered.pipelining and pipelining
        self._open: _Transaction | None = None  # the next MAIL waits until it is out of the way
        self._out: list[bytes] = []
        self._body = _NOTHING  # of a large content: what is still to be written, before `_out`
        self._queued: list[tuple[_Expected, _Transaction]] = []  # the answers to what lies in `_out`
        self._expected: deque[tuple[_Expected, _Transaction]] = deque()  # the answers to what was written
        self._stopping = self._quitting = False
        self._end_reply = own_verdict(451, "4.4.2", "the connection is closed")
        self._block = timeouts.block.total_seconds()
        self._quit = timeouts.quit.total_seconds()
        self._mail = _Expected("MAIL", timeouts.mail.total_seconds(), self._mail_answered)
        self._rcpt = _Expected("RCPT", timeouts.recipient.total_seconds(), self._rcpt_answered)
        self._data = _Expected("DATA", timeouts.data.total_seconds(), self._data_answered)
        self._dot = _Expected("the final dot", timeouts.final_dot.total_seconds(), self._dot_answered)
        self._lone_dot = _Expected("the lone dot", timeouts.final_dot.total_seconds(), _ignore)
        self._rset = _Expected("RSET", timeouts.reset.total_seconds(), self._rset_answered)

    # -- the caller's side

    @property
    def full(self) -> bool:
        """Whether no more mails are taken: the session is over, or comes to its end."""
        return self._stopping or self.closed

    @property
    def broke_off(self) -> bool:
        """Whether the session is over, and not because we had come to its end."""
        return self.closed and not self._stopping

    def submit(self, mails: Iterable[OutgoingMail]) -> None:
        """Queue mails behind those in flight. Over a closed session they come back as results at once."""
        self.mails.waiting.extend(mails)
        if self._stopping:
            self.mails.put_back("the connection is being closed")
        elif self.closed:
            self.mails.dismiss(self._end_reply, None, None)
        else:
            self._pump()
            self._say_goodbye()

    def quit(self) -> None:
        """Say QUIT as soon as the mails taken up are through; those not taken up come back untouched."""
        self._stopping = True
        self.mails.put_back("the connection is being closed")
        self._say_goodbye()

    @property
    def end_reply(self) -> Reply:
        """Why the session is over."""
        return self._end_reply

    # -- the driver's side

    def feed(self, data: bytes, now: float) -> None:
        """Take octets from the server."""
        answered = False
        try:
            for reply in self._parser.feed(data):
                self._take(reply)
                if self.closed:
                    return
                answered = True
        except BadReply as error:
            self._end(own_verdict(451, "4.5.0", f"the server sent {error}"), self._suspect())
            return
        # A part of a reply moves no deadline: a server that trickles has to finish in time all the same.
        if answered:
            self._say_goodbye()
            self.deadline = now + self._patience()

    def to_send(self, now: float) -> bytes | memoryview:
        """Octets for the server, b"" when there are none now; to be called again when they have left."""
        if self._body:
            block, rest = self._body[:BLOCK], self._body[BLOCK:]
            self._body = rest or _NOTHING  # an empty view of a content would keep all of it in memory
            self.deadline = now + self._block
            return block
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        idle = not self._expected
        self._expected.extend(self._queued)
        self._queued.clear()
        if idle:
            self.deadline = now + self._patience()
        return data

    def expire(self) -> None:
        """The deadline has passed."""
        what = self._expected[0][0].name if self._expected else "QUIT" if self._quitting else "a block of data"
        self._end(own_verdict(451, "4.4.2", f"the server did not answer {what} in time"), self._suspect())

    def lost(self, why: str) -> None:
        """The connection is gone."""
        if not self.closed:
            self._end(own_verdict(451, "4.4.2", f"the connection broke: {why}"), None)

    # -- what is said

    def _pump(self) -> None:
        """Begin transactions, as far as those before them allow."""
        jobs = self.mails.jobs
        while self._open is None:
            if jobs and jobs[-1].rest:
                self._begin(jobs[-1])
            elif (job := self.mails.take_up()) is not None:
                self._announce(job)
            else:
                return

    def _announce(self, job: Job) -> None:
        match announce(job.mail, self._offered):
            case Commands() as commands:
                job.command, job.rest = commands.mail, commands.recipients
                for index, reply in commands.refused:
                    self.mails.decide(job, [index], Bounced(reply, self._host))
                if not job.mail.recipients:
                    self.mails.finish(job)
            case reply:
                self.mails.decide_rest(job, Bounced(reply, self._host))

    def _begin(self, job: Job) -> None:
        if not job.mail.is_ours():
            self._give_back(job, NOT_OURS)
            return
        batch = self._limits.next_batch(job)
        if not batch:
            # RFC 9422 section 4: the server has said that it takes no more over one session.
            self._give_back(job, "the server takes no more over one connection")
            return
        self._open = transaction = _Transaction(job, batch)
        if not self._pipelining:
            self._say(job.command, self._mail, transaction)
            return
        # RFC 2920 section 3.1: DATA ends a group, whatever follows waits for its reply.
        self._out.append(f"{job.command}{''.join([command for _, command in batch])}DATA\r\n".encode())
        rcpts = [(self._rcpt, transaction)] * len(batch)
        self._queued += [(self._mail, transaction), *rcpts, (self._data, transaction)]

    def _give_back(self, job: Job, reason: str) -> None:
        self._stopping = True
        self.mails.give_back(job, reason)

    def _say(self, command: str, expected: "_Expected", transaction: "_Transaction") -> None:
        self._out.append(command.encode())
        self._queued.append((expected, transaction))

    def _say_next(self, transaction: "_Transaction") -> None:
        """Without PIPELINING: the command after the one that was answered."""
        if transaction.job.refusal is None and transaction.answered < len(transaction.batch):
            self._say(transaction.batch[transaction.answered][1], self._rcpt, transaction)
        elif transaction.accepted:
            self._say("DATA\r\n", self._data, transaction)
        else:
            self._abandon(transaction, None)

    def _send_content(self, transaction: "_Transaction") -> None:
        if not transaction.job.mail.is_ours():
            # After a 354 there is no other way out: whatever is said would be content.
            self._end(own_verdict(451, "4.3.0", NOT_OURS), None)
            return
        if transaction.job.postponed:
            # This transaction took some recipients: those who were too many for it get another.
            transaction.job.rest += transaction.surplus
            self.mails.decide_postponed(transaction.job)
        content = _stuffed(transaction.job.mail.content)
        if len(content) <= BLOCK:
            self._out.append(content)
        else:
            self._body = memoryview(content)
        self._say(".\r\n", self._dot, transaction)
        if self._pipelining:
            self._open = None

    def _reset(self, transaction: "_Transaction") -> None:
        """RSET after a transaction that failed (RFC 5321 section 4.1.1.5); only PIPELINING lets MAIL go with it."""
        self._say("RSET\r\n", self._rset, transaction)
        self._open = None if self._pipelining else transaction

    def _say_goodbye(self) -> None:
        busy = self.mails.jobs or self._expected or self._queued or self.closed
        if self._stopping and not self._quitting and not busy:
            self._quitting = True
            self._out.append(b"QUIT\r\n")

    # -- what is answered

    def _take(self, reply: Reply) -> None:
        if not self._expected:
            self._unasked(reply)
            return
        expected, transaction = self._expected[0]
        if reply.code // 100 == 3 and expected is not self._data:
            # It keeps its place: after the final dot, an answer that is none leaves the mail in doubt.
            self._end(_out_of_order(reply, expected.name), transaction.job)
            return
        self._expected.popleft()
        if reply.code == 421:
            # RFC 5321 section 3.8: it may be the answer to anything, and the server hangs up.
            transaction.job.touched = True
            self._end(reply, None)
        else:
            expected.handle(reply, transaction)

    def _mail_answered(self, reply: Reply, transaction: "_Transaction") -> None:
        transaction.job.touched = True
        if reply.code >= 400:
            transaction.job.refusal = reply
        if not self._pipelining:
            self._say_next(transaction)

    def _rcpt_answered(self, reply: Reply, transaction: "_Transaction") -> None:
        job = transaction.job
        index, command = transaction.batch[transaction.answered]
        transaction.answered += 1
        job.postponed.pop(index, None)
        if job.refusal is not None:
            pass  # a server that has refused MAIL may say here what it likes
        elif reply.code < 300:
            transaction.accepted.append(index)
        elif reply.code in (452, 552):
            # RFC 5321 section 4.5.3.1.10: both mean "too many recipients", and neither is for good.
            job.postponed[index] = Deferred(reply, self._host)
            if reply.enhanced[1:] in ("", ".5.3"):
                transaction.surplus.append((index, command))
        else:
            self.mails.decide(job, [index], refused(reply, self._host))
        if not self._pipelining:
            self._say_next(transaction)

    def _data_answered(self, reply: Reply, transaction: "_Transaction") -> None:
        if reply.code >= 400:
            self._abandon(transaction, reply)
        elif reply.code != 354:
            # RFC 5321 section 3.3: content goes after 354 alone. What else is no refusal has lost its place.
            self._end(_out_of_order(reply, "DATA"), transaction.job)
        elif transaction.accepted:
            self._send_content(transaction)
            self._pump()
        else:
            # RFC 2920 section 3.1: every recipient was refused, and the server wants content all the same.
            self._say(".\r\n", self._lone_dot, transaction)
            self._abandon(transaction, None)

    def _abandon(self, transaction: "_Transaction", reply: Reply | None) -> None:
        """The transaction ends without content; `reply` is for the recipients that were accepted."""
        if transaction.job.refusal is not None:
            self.mails.decide_rest(transaction.job, refused(transaction.job.refusal, self._host))
        elif reply is not None:
            self.mails.decide(transaction.job, transaction.accepted, refused(reply, self._host))
        self.mails.decide_postponed(transaction.job)
        self._reset(transaction)
        self._pump()

    def _dot_answered(self, reply: Reply, transaction: "_Transaction") -> None:
        delivered = reply.code < 300
        outcome = Delivered(reply, self._host) if delivered else refused(reply, self._host)
        self.mails.decide(transaction.job, transaction.accepted, outcome)
        if not self._pipelining:
            self._open = None
        # The final dot ends the transaction in any case (RFC 5321 section 4.1.1.4), so a group that is already on
        # its way needs no RSET before it.
        if not delivered and self._open is None:
            self._reset(transaction)
        self._pump()

    def _rset_answered(self, reply: Reply, transaction: "_Transaction") -> None:
        if reply.code >= 400:
            self._end(own_verdict(451, "4.5.0", f"the server refused RSET: {reply}"), None)
        elif not self._pipelining:
            self._open = None
            self._pump()

    def _unasked(self, reply: Reply) -> None:
        """A reply to nothing: to QUIT, a 421, a verdict on a content that is still on its way, or nonsense."""
        sending = next((transaction for expected, transaction in self._queued if expected is self._dot), None)
        if sending is not None and reply.code >= 400:
            self.mails.decide(sending.job, sending.accepted, refused(reply, self._host))
        self._end(reply if reply.code == 421 else _out_of_order(reply, "nothing"), None)

    # -- the end

    def _patience(self) -> float:
        """Seconds that what comes next may take."""
        if self._expected:
            return self._expected[0][0].patience
        if self._quitting:
            return self._quit
        return self._block if self._out or self._body else inf

    def _suspect(self) -> Job | None:
        """The mail whose answer is due."""
        return self._expected[0][1].job if self._expected else None

    def _end(self, reply: Reply, suspect: Job | None) -> None:
        """The session is over; `reply` says why, `suspect` is the mail that the end is blamed on."""
        self.closed = True
        self.deadline = inf
        self._end_reply = reply
        in_doubt = next((transaction for expected, transaction in self._expected if expected is self._dot), None)
        self._out.clear()
        self._body = _NOTHING
        if in_doubt is None:
            self.mails.dismiss(reply, suspect, None)
        else:
            self.mails.dismiss(reply, suspect, in_doubt.job, in_doubt.accepted)


# ---------------------------------------------------------------------------------------------------------


class _Transaction:
    """MAIL to the final dot, for as many recipients as one takes."""

    __slots__ = ("accepted", "answered", "batch", "job", "surplus")

    def __init__(self, job: Job, batch: list[tuple[int, str]]) -> None:
        self.job = job
        self.batch = batch  # index of the recipient, RCPT command
        self.answered = 0  # of the RCPT commands
        self.accepted: list[int] = []
        self.surplus: list[tuple[int, str]] = []  # refused as too many


class _Expected:
    """An answer that is due: to what, how many seconds it may take, and who takes it."""

    __slots__ = ("handle", "name", "patience")

    def __init__(self, name: str, patience: float, handle: Callable[[Reply, _Transaction], None]) -> None:
        self.name = name
        self.patience = patience
        self.handle = handle


def _ignore(reply: Reply, transaction: _Transaction) -> None:
    """To a lone dot: whatever the server says, there was nobody to deliver to."""


def _out_of_order(reply: Reply, command: str) -> Reply:
    return own_verdict(451, "4.5.0", f"the server answered {command} with: {reply}")


_DOT_AFTER_LF = re.compile(rb"\n[.]")
_DOT_AFTER_CR = re.compile(rb"\r[.]")


def _stuffed(content: bytes) -> bytes:
    """The content as it goes over the wire: dots doubled (RFC 5321 section 4.5.2), its last line ended."""
    # In stored content every line feed follows a carriage return, and no carriage return stands alone. Should one, a
    # dot after it is doubled as well: a server that takes it for a line end must not find the end of the data there.
    # Attachments in base64 have no dots at all; the patterns find two octets twice as fast as `bytes.find`.
    last = content.rfind(b".") + 1
    if _DOT_AFTER_LF.search(content, 0, last):
        content = content.replace(b"\n.", b"\n..")
        last = len(content)
    if _DOT_AFTER_CR.search(content, 0, last):
        content = content.replace(b"\r.", b"\r..")
    if content.startswith(b"."):
        content = b"." + content
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"
