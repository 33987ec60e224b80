"""What each worker counts, in Prometheus' names; served on one port per worker, or not at all."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

REGISTRY = CollectorRegistry()

ADMITTED = Counter("pillarbox_mails_admitted_total", "Mails taken into the store", registry=REGISTRY)
DUPLICATES = Counter("pillarbox_submissions_duplicate_total", "Submissions whose id was known", registry=REGISTRY)
REJECTED = Counter("pillarbox_submissions_rejected_total", "Submissions refused", registry=REGISTRY)
RELEASED = Counter("pillarbox_recipients_released_total", "Recipients sent on to a resolver", registry=REGISTRY)
OUTCOMES = Counter("pillarbox_outcomes_total", "Outcomes taken, by kind", ["outcome"], registry=REGISTRY)
FAILURES = Counter(
    "pillarbox_failures_total",
    "Outcomes that were no delivery, by kind and class",
    ["outcome", "bounce_class"],
    registry=REGISTRY,
)
IN_DOUBT = Counter(
    "pillarbox_recipients_in_doubt_total",
    "Recipients of whom it is not known whether they have the mail",
    registry=REGISTRY,
)
COMMANDS = Counter("pillarbox_commands_total", "Commands answered", ["command"], registry=REGISTRY)
DEAD = Counter(
    "pillarbox_dead_letters_total",
    "Messages put aside, by the exchange they came from",
    ["exchange"],
    registry=REGISTRY,
)
DEAD_WAITING = Gauge("pillarbox_dead_letters_waiting", "Messages that lie in pillarbox.dead", registry=REGISTRY)
ROUTED = Counter("pillarbox_recipients_routed_total", "Recipients given a route", registry=REGISTRY)
UNROUTABLE = Counter("pillarbox_recipients_unroutable_total", "Recipients without a route", registry=REGISTRY)
CLAIMED = Counter("pillarbox_mails_claimed_total", "Mails claimed in the store", registry=REGISTRY)
NOT_CLAIMED = Counter(
    "pillarbox_mails_not_claimed_total", "Mails found retracted, replaced or taken", registry=REGISTRY
)
TRIED = Counter(
    "pillarbox_recipients_tried_total", "Recipients whose attempt has ended, one way or the other", registry=REGISTRY
)
TAKEN_OVER = Counter(
    "pillarbox_outcomes_taken_over_total", "Outcomes reported from the journals of senders that died", registry=REGISTRY
)
HELO_UNCONFIRMED = Gauge(
    "pillarbox_helo_unconfirmed", "1 where no name leads back to the egress address", ["address"], registry=REGISTRY
)
CONNECTIONS = Gauge("pillarbox_smtp_connections", "SMTP connections that are open", registry=REGISTRY)
SITES_DOWN = Gauge("pillarbox_sites_down", "Sites that are out of reach or paused", registry=REGISTRY)
SIGN_INS_REFUSED = Counter(
    "pillarbox_sign_ins_refused_total", "Sign-ins at a relay that need mending", ["site"], registry=REGISTRY
)
GATEWAY_CONNECTIONS = Gauge(
    "pillarbox_gateway_connections", "SMTP connections of clients that are open", registry=REGISTRY
)
GATEWAY_TURNED_AWAY = Counter("pillarbox_gateway_turned_away_total", "Connections beyond the limits", registry=REGISTRY)
GATEWAY_MAILS = Counter(
    "pillarbox_gateway_mails_total", "Mails that clients have sent whole, by the code they were answered with",
    ["code"], registry=REGISTRY,
)  # fmt: skip
GATEWAY_SIGN_INS_FAILED = Counter(
    "pillarbox_gateway_sign_ins_failed_total", "Sign-ins of clients with a wrong name or password", registry=REGISTRY
)
REQUESTS = Counter("pillarbox_http_requests_total", "Requests answered, by status", ["status"], registry=REGISTRY)
SIGN_INS = Counter("pillarbox_console_sign_ins_total", "Sign-ins of people, by result", ["result"], registry=REGISTRY)
REVISION = Gauge("pillarbox_settings_revision", "Settings revision in force", registry=REGISTRY)
STORE_UNAVAILABLE = Gauge(
    "pillarbox_store_unavailable", "1 while the mail store can not be used and is waited for", registry=REGISTRY
)
TRANSACTION = Histogram(
    "pillarbox_store_transaction_seconds", "Time of a store transaction", ["what"], registry=REGISTRY
)


def serve_metrics(port: int | None) -> int | None:
    """Serve the metrics on a port (0: a free one) and return it; None serves nothing."""
    if port is None:
        return None
    server, _thread = start_http_server(port, registry=REGISTRY)
    return int(server.server_port)
