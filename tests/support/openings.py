"""Sessions opening, as transcripts; "H: done" on a line of its own is a handshake."""

from services.sender.channel import Channel
from services.sender.login import Login
from services.sender.opening import Introduction, NotOpened, Opened, Opening, opening_of
from services.sender.reply_parser import ReplyParser
from services.sender.tls import TlsPolicy
from shared.contracts.work import TlsMode
from shared.settings import Timeouts
from tests.support.transcript import play

NONE, ENABLE, REQUIRE = (TlsPolicy(mode, verify=False) for mode in (TlsMode.NONE, TlsMode.ENABLE, TlsMode.REQUIRE))
EHLO = "S: 220 mx.example ESMTP\nC: EHLO us.example\n"
QUIT = "\nC: QUIT\nS: 221 bye"
TLS_1_3 = Channel("TLSv1.3", "TLS_AES_256_GCM_SHA384", "valid")


def opening(
    policy: TlsPolicy = NONE, login: Login | None = None, implicit_tls: bool = False, beware_of_loops: bool = False
) -> Opening:
    introduction = Introduction("us.example", policy, implicit_tls, login, beware_of_loops)
    return opening_of(introduction, Timeouts(), ReplyParser())


def result(machine: Opening, transcript: str, channel: Channel = TLS_1_3) -> str:
    """`opened …` or the stage and the verdict; a line "H: done" is a handshake."""
    for number, part in enumerate(transcript.split("\nH: done\n")):
        if number:
            assert machine.wants_handshake, "no handshake was due"
            machine.secured(0.0, channel)
        play(machine, part or "\n")
    match machine.result:
        case Opened():
            return "opened"
        case NotOpened(stage, reply):
            return f"{stage.value}: {reply.code} {reply.enhanced}".rstrip()
        case None:
            return "under way"
