"""Where is my mail? Functions of an open transaction that read."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from services.scheduler.outcomes import PARKED_AFTER
from shared.contracts.answers import ContentAnswer, MailLine, RecipientState, SettingsVersion, Step, Story
from shared.contracts.commands import ListMails, Selector, ShowContent
from shared.contracts.words import BounceClass, StateName
from shared.mail_store.rows import insert_missing
from shared.mail_store.states import State
from shared.mail_store.tables import contents, history, mails, recipients, settings_history
from shared.sites import Site, SiteState, read_sites
from shared.topology import LANE_QUEUES


def show(connection: sa.Connection, mail: str, now: datetime) -> Story | None:
    """The whole story of one mail; None for an unknown id."""
    row = connection.execute(sa.select(mails).where(mails.c.id == mail)).first()
    if row is None:
        return None
    of = connection.execute(sa.select(recipients).where(recipients.c.mail == row.no).order_by(recipients.c.no)).all()
    down = read_sites(connection, {each.site for each in of if each.site})
    earlier = connection.execute(sa.select(history).where(history.c.mail == row.no).order_by(history.c.no)).all()
    return Story(
        id=row.id,
        batch=row.batch,
        sender=row.reverse_path,
        subject=row.subject,
        size=row.size,
        priority="urgent" if row.urgent else "normal",
        submitted_by=row.submitted_by,
        admitted=row.admitted,
        give_up=row.give_up,
        recipients=[_recipient_state(each, down) for each in of],
        waits=[sentence for each in of if (sentence := why_it_waits(each, row.held_by, now, down))],
        steps=_steps(row, of, earlier),
        about=next((each.detail for each in earlier if each.what == "about"), ""),
        reports=[each.detail for each in earlier if each.what == "reported"],
    )


def why_it_waits(recipient: Any, held_by: str, now: datetime, known: Mapping[str, Site]) -> str:
    """A sentence that says what a recipient's copy waits for; "" for a final one. `known` has the sites waited for."""
    due = recipient.wake is not None and recipient.wake <= now
    match State(recipient.state):
        case State.HELD if due:
            why = f"due since {_when(recipient.wake)}: it goes out after mail that was due before it"
        case State.HELD:
            why = f"held until {_when(recipient.wake)} by {held_by}"
        case State.RELEASING:
            why = f"on its way to a sender since {_when(recipient.since)}; if it was lost there, again at " + _when(
                recipient.wake
            )
        case State.RELEASED:
            why = f"on its way to a sender since {_when(recipient.since)}: in a lane, behind other mail of its site"
        case State.CLAIMED:
            why = f"{recipient.worker} is sending it since {_when(recipient.claimed)}"
        case State.IN_DOUBT:
            doubt = f"{recipient.host or 'the receiver'} may have taken it"
            if recipient.lapses >= PARKED_AFTER:
                doubt = f"{recipient.lapses} senders in a row died with it in their hands, perhaps because of it"
            why = (
                f"in doubt: {doubt}; an operator sends it again (`resend`) or closes it (`close`);"
                f" else it is given up at {_when(recipient.wake)}"
            )
        case State.DEFERRED if recipient.site and recipient.site not in LANE_QUEUES:
            why = _why_its_site_waits(recipient, known.get(recipient.site), now)
        case State.DEFERRED if recipient.code == 0:
            until = "until there is room" if recipient.site else f"until {_when(recipient.wake)}"
            since = f"and due since {_when(recipient.wake)}"
            why = f"set aside {since if due else until}: {recipient.reply}"
        case State.DEFERRED:
            said = f"{recipient.host} said" if recipient.host else "the reason was"
            reply = f"{recipient.code} {recipient.enhanced} {recipient.reply}".replace("\n", " ")
            follows = f"attempt {recipient.attempt} {'is due since' if due else 'follows at'} {_when(recipient.wake)}"
            why = f"deferred{_bracketed(recipient.bounce_class)}; {said}: {reply}; {follows}"
        case _:
            return ""
    return f"{recipient.address}: {why}"


def _why_its_site_waits(recipient: Any, site: Site | None, now: datetime) -> str:
    if site is None or site.state is not SiteState.DOWN or recipient.wake <= now:
        return f"its site {recipient.site} may be up again; it goes out now"
    said = f"{site.host}: {site.said}" if site.host else str(site.said)
    prober = site.probed_by(now)
    following = f"{prober} is trying it now" if prober else f"next probe at {_when(site.until or now)}"
    return f"its site {site.name} has been down since {_when(site.since)}: {said}; {following}"


def list_mails(connection: sa.Connection, command: ListMails) -> tuple[list[MailLine], int | None]:
    """A page of mails, newest first, and where the next one begins."""
    chosen = sa.select(recipients.c.mail).join_from(recipients, mails, recipients.c.mail == mails.c.no)
    chosen = chosen.where(*_conditions(command))
    if command.before is not None:
        chosen = chosen.where(recipients.c.mail < command.before)
    numbers = connection.execute(
        chosen.distinct().order_by(recipients.c.mail.desc()).limit(command.limit)
    ).scalars().all()  # fmt: skip
    if not numbers:
        return [], None
    rows = connection.execute(sa.select(mails).where(mails.c.no.in_(numbers)).order_by(mails.c.no.desc())).all()
    states = recipient_states(connection, list(numbers))
    lines = [
        MailLine(
            id=row.id,
            batch=row.batch,
            sender=row.reverse_path,
            subject=row.subject,
            size=row.size,
            admitted=row.admitted,
            recipients=states[row.no],
        )
        for row in rows
    ]
    return lines, numbers[-1] if len(numbers) == command.limit else None


def _conditions(command: ListMails) -> Iterator[sa.ColumnElement[bool]]:
    yield chosen_by(command)
    if command.state is not None:
        yield recipients.c.state == int(State[command.state.upper()])
    if command.submitted_by is not None:
        yield mails.c.submitted_by == command.submitted_by
    if command.sender is not None:
        yield mails.c.reverse_path == command.sender
    if command.since is not None:
        yield mails.c.admitted >= command.since
    if command.until is not None:
        yield mails.c.admitted < command.until


def chosen_by(selector: Selector) -> sa.ColumnElement[bool]:
    """The condition on mails and recipients that a selector stands for."""
    conditions = [
        condition
        for given, condition in (
            (selector.id, mails.c.id == selector.id),
            (selector.batch, mails.c.batch == selector.batch),
            (selector.recipient, recipients.c.address == selector.recipient),
        )
        if given
    ]
    return sa.and_(sa.true(), *conditions)


def recipient_states(
    connection: sa.Connection, mail_numbers: Sequence[int], only: Sequence[int] | None = None
) -> dict[int, list[RecipientState]]:
    """The recipients of mails, by mail number; only those numbered, where that is given."""
    found: dict[int, list[RecipientState]] = {number: [] for number in mail_numbers}
    wanted = None if only is None else set(only)
    query = sa.select(recipients).where(recipients.c.mail.in_(list(mail_numbers))).order_by(recipients.c.no)
    rows = [row for row in connection.execute(query) if wanted is None or row.no in wanted]
    down = read_sites(connection, {row.site for row in rows if row.site})
    for row in rows:
        found[row.mail].append(_recipient_state(row, down))
    return found


def content_part(connection: sa.Connection, command: ShowContent) -> ContentAnswer:
    """Some of the content of a mail, as long as it is kept."""
    part = sa.func.substr(contents.c.data, command.offset + 1, command.limit, type_=sa.LargeBinary)
    query = sa.select(part.label("part"), sa.func.length(contents.c.data).label("size"))
    query = query.join_from(contents, mails, contents.c.mail == mails.c.no).where(mails.c.id == command.id)
    row = connection.execute(query).first()
    return ContentAnswer(content=None, size=0) if row is None else ContentAnswer(content=row.part, size=row.size)


# ---------------------------------------------------------------------------------------------------------
# Settings


def keep_settings(connection: sa.Connection, version: SettingsVersion) -> None:
    """Copy an accepted document into the store; one that is there already (read again at a start) stays."""
    connection.execute(
        insert_missing(connection, settings_history, "revision").values(
            revision=version.revision,
            time=version.time,
            author=version.author,
            comment=version.comment,
            restores=version.restores,
            settings=msgspec.json.encode(version.settings),
        )
    )


def settings_versions(connection: sa.Connection, revision: int | None, most: int) -> list[SettingsVersion]:
    """Settings documents, newest first: that of a revision, or the last ones."""
    query = sa.select(settings_history).order_by(settings_history.c.revision.desc()).limit(most)
    if revision is not None:
        query = query.where(settings_history.c.revision == revision)
    return [
        SettingsVersion(
            revision=row.revision,
            time=row.time,
            author=row.author,
            comment=row.comment,
            settings=msgspec.json.decode(row.settings),
            restores=row.restores,
        )
        for row in connection.execute(query)
    ]


# ---------------------------------------------------------------------------------------------------------


def _recipient_state(row: Any, known: Mapping[str, Site]) -> RecipientState:
    state = State(row.state)
    site = known.get(row.site)
    probe = site.until if state is State.DEFERRED and site is not None and site.state is SiteState.DOWN else None
    has_a_time = state is State.HELD or (state is State.DEFERRED and row.site not in LANE_QUEUES)
    return RecipientState(
        address=row.address,
        state=cast(StateName, state.name.lower()),
        since=row.since,
        attempt=row.attempt,
        next_try=min(probe or row.wake, row.wake) if has_a_time else None,
        worker=row.worker,
        host=row.host,
        code=row.code,
        enhanced=row.enhanced,
        reply=row.reply,
        bounce_class=_bounce_class(row),
        in_doubt=row.in_doubt,
    )


def _steps(mail: Any, of: Sequence[Any], earlier: Sequence[Any]) -> list[Step]:
    steps = [Step(time=mail.admitted, what="admitted", revision=mail.revision, detail=f"held by {mail.held_by}")]
    if mail.retracted_before_arrival:
        steps = [Step(time=mail.admitted, what="retracted", detail="before it arrived", revision=mail.revision)]
    steps += [
        Step(
            time=row.time,
            what=row.what,
            recipient=row.recipient,
            attempt=row.attempt,
            revision=row.revision,
            worker=row.worker,
            host=row.host,
            code=row.code,
            enhanced=row.enhanced,
            reply=row.reply,
            bounce_class=_bounce_class(row),
            next_try=row.next_try,
            detail=row.detail,
        )
        for row in earlier
    ]
    for row in of:
        steps += _latest_attempt(row)
    return sorted(steps, key=lambda step: step.time)


def _latest_attempt(row: Any) -> list[Step]:
    """The steps that the recipient's row itself tells of; those of earlier attempts stand in the history."""
    state, steps = State(row.state), []
    if row.released is not None and state is not State.DEFERRED:
        steps.append(Step(time=row.released, what="released", recipient=row.address, attempt=row.attempt))
    if row.claimed is not None and state in (State.CLAIMED, State.DELIVERED, State.BOUNCED, State.IN_DOUBT):
        steps.append(
            Step(time=row.claimed, what="claimed", recipient=row.address, attempt=row.attempt, worker=row.worker)
        )
    if state in (State.DELIVERED, State.BOUNCED, State.RETRACTED):
        steps.append(
            Step(
                time=row.since,
                what=state.name.lower(),
                recipient=row.address,
                attempt=row.attempt,
                revision=row.revision,
                worker=row.worker,
                host=row.host,
                code=row.code,
                enhanced=row.enhanced,
                reply=row.reply,
                bounce_class=_bounce_class(row),
            )
        )
    return steps


def _bracketed(word: str) -> str:
    return f" ({word})" if word else ""


def _bounce_class(row: Any) -> BounceClass | None:
    return BounceClass(row.bounce_class) if row.bounce_class else None


def _when(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
