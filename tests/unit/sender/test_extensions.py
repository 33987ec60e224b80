"""What servers offer."""

import pytest

from services.sender.extensions import Extensions, ServerLimits, read_extensions
from shared.smtp_reply import Reply

NONE = Extensions(server="mx.example")


@pytest.mark.checklist(40, 108, 113)
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], NONE),
        (["X-UNKNOWN", "ENHANCEDSTATUSCODES"], NONE),
        (["pipelining"], Extensions(server="mx.example", pipelining=True)),
        (["PIPELINING", "8bitmime"], Extensions(server="mx.example", pipelining=True, eight_bit=True)),
        (["SIZE"], Extensions(server="mx.example", size=0)),
        (["SIZE 0"], Extensions(server="mx.example", size=0)),
        (["SIZE 10240000"], Extensions(server="mx.example", size=10240000)),
        (["SIZE=1000"], Extensions(server="mx.example", size=1000)),
        (["SIZE lots"], Extensions(server="mx.example", size=0)),
        (["SMTPUTF8"], Extensions(server="mx.example", smtputf8=True, eight_bit=True)),
        (["DSN"], Extensions(server="mx.example", dsn=True)),
        (["STARTTLS"], Extensions(server="mx.example", starttls=True)),
        (["AUTH plain LOGIN"], Extensions(server="mx.example", auth=frozenset({"PLAIN", "LOGIN"}))),
        (["AUTH=LOGIN PLAIN"], Extensions(server="mx.example", auth=frozenset({"PLAIN", "LOGIN"}))),
        (["AUTH PLAIN", "AUTH=LOGIN"], Extensions(server="mx.example", auth=frozenset({"PLAIN", "LOGIN"}))),
        (["AUTH"], NONE),
        ([""], NONE),
    ],
)
def test_each_line_but_the_first_is_an_extension(lines, expected):
    assert read_extensions(Reply(250, "", "\n".join(["mx.example at your service", *lines]))) == expected


def test_the_first_line_is_no_extension():
    assert read_extensions(Reply(250, "", "PIPELINING")) == Extensions(server="PIPELINING")


@pytest.mark.checklist(117)
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["LIMITS"], ServerLimits()),
        (["LIMITS MAILMAX=20"], ServerLimits(transactions=20)),
        (
            ["limits rcptmax=50 MailMax=5 RCPTDOMAINMAX=1"],
            ServerLimits(transactions=5, recipients=50, domains=1),
        ),
        (["LIMITS FUTURE FUTURE-2=x=y RCPTMAX=999999"], ServerLimits(recipients=999999)),  # others' limits are not ours
        # What is malformed, or said twice, counts as a whole for nothing.
        (["LIMITS RCPTMAX=0 MAILMAX=5"], ServerLimits()),
        (["LIMITS RCPTMAX=1000000 MAILMAX=5"], ServerLimits()),
        (["LIMITS RCPTMAX=007 MAILMAX=5"], ServerLimits()),
        (["LIMITS RCPTMAX=-1 MAILMAX=5"], ServerLimits()),
        (["LIMITS RCPTMAX= MAILMAX=5"], ServerLimits()),
        (["LIMITS RCPTMAX MAILMAX=5"], ServerLimits()),
        (["LIMITS RCPTMAX=many MAILMAX=5"], ServerLimits()),
        (["LIMITS =5 MAILMAX=5"], ServerLimits()),
        (["LIMITS RCPTMAX=5 RCPTMAX=6"], ServerLimits()),
        (["LIMITS RCPTMAX=5", "LIMITS MAILMAX=5"], ServerLimits()),
    ],
)
def test_limits_are_read_whole_or_not_at_all(lines, expected):
    assert read_extensions(Reply(250, "", "\n".join(["mx.example", *lines]))).limits == expected
