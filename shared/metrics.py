"""What each worker counts, in Prometheus' names; served on one port per worker, or not at all.

A worker serves what its role counts and nothing else: a zero from one that does not look would be taken for an answer.
Base units, `_total` for what only grows; docs/metrics.md is generated from here.
"""

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from shared.environment import InvalidEnvironment

# From a batch of the quick ones to a receiver that takes its minutes.
_STEPS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WAITS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

EVERY, STORE, SCHEDULER, RESOLVER, SENDER, GATEWAY, CONSOLE = (CollectorRegistry() for _ in range(7))

# Who counts what; the store is the schedulers' and the senders' alone.
ROLES = {
    "scheduler": (EVERY, STORE, SCHEDULER),
    "resolver": (EVERY, RESOLVER),
    "sender": (EVERY, STORE, SENDER),
    "gateway": (EVERY, GATEWAY),
    "console": (EVERY, CONSOLE),
}

# ---------------------------------------------------------------------------------------------------------
# Every worker

WORKER = Gauge("pillarbox_worker_info", "1: which release runs as what", ["role", "worker", "version"], registry=EVERY)
REVISION = Gauge("pillarbox_settings_revision", "Settings revision in force", registry=EVERY)
SETTINGS_REJECTED = Counter(
    "pillarbox_settings_rejected_total", "Settings documents that this worker did not take", registry=EVERY
)
BROKER_CONNECTED = Gauge(
    "pillarbox_broker_connected", "1 while the connection to the broker is open", ["connection"], registry=EVERY
)
BROKER_RECONNECTS = Counter(
    "pillarbox_broker_reconnects_total", "Connections to the broker opened again after a loss", ["connection"],
    registry=EVERY,
)  # fmt: skip
BROKER_BLOCKED = Gauge(
    "pillarbox_broker_blocked", "1 while an alarm of the broker keeps us from publishing", ["connection"],
    registry=EVERY,
)  # fmt: skip
BROKER_REFUSED = Counter(
    "pillarbox_broker_refused_total", "Messages that the broker did not take, by exchange: its queue is full",
    ["exchange"], registry=EVERY,
)  # fmt: skip
BROKER_CONFIRM = Histogram(
    "pillarbox_broker_confirm_seconds", "From a publish of one or more messages until the broker has all of them",
    buckets=_STEPS_S, registry=EVERY,
)  # fmt: skip
DEAD = Counter(
    "pillarbox_dead_letters_total", "Messages put aside, by the exchange they came from", ["exchange"], registry=EVERY
)
ProcessCollector(registry=EVERY)

# ---------------------------------------------------------------------------------------------------------
# Whoever uses the mail store

STORE_UNAVAILABLE = Gauge(
    "pillarbox_store_unavailable", "1 while the mail store can not be used and is waited for", registry=STORE
)
TRANSACTION = Histogram(
    "pillarbox_store_transaction_seconds", "Time of a store transaction, by what it does", ["what"],
    buckets=_STEPS_S, registry=STORE,
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------
# Scheduler

ADMITTED = Counter("pillarbox_mails_admitted_total", "Mails taken into the store", registry=SCHEDULER)
DUPLICATES = Counter(
    "pillarbox_submissions_duplicate_total", "Submissions whose id was known", registry=SCHEDULER
)  # fmt: skip
REJECTED = Counter("pillarbox_submissions_rejected_total", "Submissions refused", registry=SCHEDULER)
ADMISSION = Histogram(
    "pillarbox_admission_seconds", "Time to judge, store and pass on the submissions of one transaction",
    buckets=_STEPS_S, registry=SCHEDULER,
)  # fmt: skip
RELEASED = Counter("pillarbox_recipients_released_total", "Recipients sent on to a resolver", registry=SCHEDULER)
OUTCOMES = Counter("pillarbox_outcomes_total", "Outcomes taken, by kind", ["outcome"], registry=SCHEDULER)
FAILURES = Counter(
    "pillarbox_failures_total", "Outcomes that were no delivery, by kind and class", ["outcome", "bounce_class"],
    registry=SCHEDULER,
)  # fmt: skip
IN_DOUBT = Counter(
    "pillarbox_recipients_in_doubt_total", "Recipients of whom it is not known whether they have the mail",
    registry=SCHEDULER,
)  # fmt: skip
RETRACTED = Counter("pillarbox_recipients_retracted_total", "Recipients taken back in time", registry=SCHEDULER)
ATTEMPT = Histogram(
    "pillarbox_attempt_seconds", "From a sender's claim of a recipient's mail until its outcome is written down",
    buckets=_WAITS_S, registry=SCHEDULER,
)  # fmt: skip
TRANSIT = Histogram(
    "pillarbox_transit_seconds", "From the release of a recipient's mail until it is known to be delivered",
    buckets=_WAITS_S, registry=SCHEDULER,
)  # fmt: skip
COMMANDS = Counter("pillarbox_commands_total", "Commands answered", ["command"], registry=SCHEDULER)
WAITING = Gauge(
    "pillarbox_recipients_waiting", "Recipients whose mail is under way, by state; final ones are not counted",
    ["state"], registry=SCHEDULER,
)  # fmt: skip
OVERDUE = Gauge(
    "pillarbox_recipients_overdue", "Recipients whose hold or wait is over and who are not released yet",
    registry=SCHEDULER,
)  # fmt: skip
RELEASE_LAG = Gauge(
    "pillarbox_release_lag_seconds", "How long the first of those is overdue", registry=SCHEDULER
)  # fmt: skip
SITES_DOWN = Gauge("pillarbox_sites_down", "Sites that are out of reach or paused", registry=SCHEDULER)
QUEUE_MESSAGES = Gauge(
    "pillarbox_queue_messages", "Messages that wait in a queue of ours for a worker", ["queue"], registry=SCHEDULER
)
DEAD_WAITING = Gauge("pillarbox_dead_letters_waiting", "Messages that lie in pillarbox.dead", registry=SCHEDULER)

# ---------------------------------------------------------------------------------------------------------
# Resolver

ROUTED = Counter("pillarbox_recipients_routed_total", "Recipients given a route", registry=RESOLVER)
UNROUTABLE = Counter("pillarbox_recipients_unroutable_total", "Recipients without a route", registry=RESOLVER)
ROUTE = Histogram(
    "pillarbox_route_seconds", "Time to find the routes of the requests of one message, and to pass them on",
    buckets=_STEPS_S, registry=RESOLVER,
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------
# Sender

CLAIMED = Counter("pillarbox_mails_claimed_total", "Mails claimed in the store", registry=SENDER)
NOT_CLAIMED = Counter(
    "pillarbox_mails_not_claimed_total", "Mails found retracted, replaced or taken", registry=SENDER
)  # fmt: skip
CLAIM = Histogram("pillarbox_claim_seconds", "Time that a batch waits for its claim", buckets=_STEPS_S, registry=SENDER)
TRIED = Counter(
    "pillarbox_recipients_tried_total", "Recipients whose attempt has ended, one way or the other", registry=SENDER
)
DELIVERED_BYTES = Counter(
    "pillarbox_delivered_bytes_total", "Octets of content that servers have taken", registry=SENDER
)
CONNECTIONS = Gauge("pillarbox_smtp_connections", "SMTP connections that are open", registry=SENDER)
CONNECT = Histogram(
    "pillarbox_smtp_connect_seconds", "Time to open an SMTP connection, sign-in and TLS included, by what came of it",
    ["result"], buckets=_STEPS_S, registry=SENDER,
)  # fmt: skip
PAUSES = Counter(
    "pillarbox_site_pauses_total", "How often a site was found down or was left alone, by the class of what it said",
    ["bounce_class"], registry=SENDER,
)  # fmt: skip
SIGN_INS_REFUSED = Counter(
    "pillarbox_sign_ins_refused_total", "Sign-ins at a relay that need mending", ["site"], registry=SENDER
)
HELO_UNCONFIRMED = Gauge(
    "pillarbox_helo_unconfirmed", "1 where no name leads back to the egress address", ["address"], registry=SENDER
)
JOURNAL_OFF = Gauge(
    "pillarbox_journal_off", "1 while answers of receivers are not written down, and would be lost with this sender",
    registry=SENDER,
)  # fmt: skip
JOURNAL_BYTES = Counter("pillarbox_journal_written_bytes_total", "Octets written into the journal", registry=SENDER)
JOURNAL_UNCONFIRMED = Gauge(
    "pillarbox_journal_unconfirmed", "Outcomes in the journal that the broker does not have yet", registry=SENDER
)
TAKEN_OVER = Counter(
    "pillarbox_outcomes_taken_over_total", "Outcomes reported from the journals of senders that died", registry=SENDER
)

# ---------------------------------------------------------------------------------------------------------
# Gateway

GATEWAY_CONNECTIONS = Gauge(
    "pillarbox_gateway_connections", "SMTP connections of clients that are open", registry=GATEWAY
)
GATEWAY_TURNED_AWAY = Counter("pillarbox_gateway_turned_away_total", "Connections beyond the limits", registry=GATEWAY)
GATEWAY_MAILS = Counter(
    "pillarbox_gateway_mails_total", "Mails that clients have sent whole, by the code they were answered with",
    ["code"], registry=GATEWAY,
)  # fmt: skip
GATEWAY_SIGN_INS_FAILED = Counter(
    "pillarbox_gateway_sign_ins_failed_total", "Sign-ins of clients with a wrong name or password", registry=GATEWAY
)

# ---------------------------------------------------------------------------------------------------------
# Console

REQUESTS = Counter("pillarbox_http_requests_total", "Requests answered, by status", ["status"], registry=CONSOLE)
SIGN_INS = Counter("pillarbox_console_sign_ins_total", "Sign-ins of people, by result", ["result"], registry=CONSOLE)

# ---------------------------------------------------------------------------------------------------------


def _together(*parts: CollectorRegistry) -> CollectorRegistry:
    whole = CollectorRegistry()
    for part in parts:
        whole.register(part)
    return whole


REGISTRY = _together(EVERY, STORE, SCHEDULER, RESOLVER, SENDER, GATEWAY, CONSOLE)


def serve_metrics(port: int | None, role: str, worker: str) -> int | None:
    """Serve the metrics of a role on a port (0: a free one) and return it; None serves nothing.

    Raises InvalidEnvironment where it can not listen there.
    """
    if port is None:
        return None
    WORKER.labels(role, worker, version("pillarbox")).set(1)
    try:
        server, _thread = start_http_server(port, registry=_together(*ROLES.get(role, (EVERY,))))
    except OSError as error:
        raise InvalidEnvironment(
            f"PILLARBOX_METRICS_PORT: can not listen on port {port}: {error.strerror}; takes one where nothing else"
            " listens, or 0 for a free one"
        ) from error
    return int(server.server_port)
