"""What the scheduler tells of mails, as lines for people."""

from collections.abc import Sequence
from datetime import datetime, tzinfo

from cli.output import brief_time, counted, show_time
from shared.contracts.answers import MailLine, RecipientState, RetractedMail, RetractResult, Step, Story


def story_lines(story: Story, zone: tzinfo | None = None) -> list[str]:
    """The whole story: what it is, where it stands for each recipient, why it waits, and what happened, in order."""
    return [
        f"mail {story.id}",
        *_facts(story, zone),
        "",
        "where it stands",
        *(f"  {line}" for state in story.recipients for line in recipient_lines(state, zone)),
        *(["", "why it waits", *(f"  {sentence}" for sentence in story.waits)] if story.waits else []),
        "",
        "what happened",
        *(f"  {step_line(step, zone)}" for step in story.steps),
    ]


def _facts(story: Story, zone: tzinfo | None) -> list[str]:
    facts = [
        ("subject", story.subject or "(none)"),
        ("sender", story.sender or "<> (bounces go nowhere)"),
        ("size", counted(story.size, "octet")),
        ("batch", story.batch),
        ("reports on", story.about),
        ("reported by", ", ".join(story.reports)),
        ("priority", "" if story.priority == "normal" else story.priority),
        ("submitted by", story.submitted_by),
        ("admitted", show_time(story.admitted, zone)),
        ("gives up", show_time(story.give_up, zone)),
    ]
    return [f"  {name:<13} {value}" for name, value in facts if value]


def recipient_lines(state: RecipientState, zone: tzinfo | None = None) -> list[str]:
    """Where a mail stands for one recipient; a second line has what the receiver said."""
    words = f"{state.address}: {state.state} since {show_time(state.since, zone)}, attempt {state.attempt}"
    if state.next_try is not None:
        words += f", next try {show_time(state.next_try, zone)}"
    said = ": ".join(
        part for part in (_at(state.host, state.worker), _reply(state.code, state.enhanced, state.reply)) if part
    )
    if state.bounce_class:
        said += f"  ({state.bounce_class})"
    doubt = (
        ["  in doubt: the connection broke after the mail was sent; it may have been accepted"]
        if state.in_doubt
        else []
    )
    return [words, *([f"  {said}"] if said else []), *doubt]


def step_line(step: Step, zone: tzinfo | None = None) -> str:
    """One step: when, what, for whom, then all that is known of it."""
    facts = [
        f"attempt {step.attempt}" if step.attempt else "",
        f"settings {step.revision}" if step.revision >= 0 else "",
        f"by {step.worker}" if step.worker else "",
        f"at {step.host}" if step.host else "",
        _reply(step.code, step.enhanced, step.reply),
        f"class {step.bounce_class}" if step.bounce_class else "",
        f"next try {show_time(step.next_try, zone)}" if step.next_try is not None else "",
        step.detail,
    ]
    head = f"{_fine_time(step.time, zone)}  {step.what:<9}"
    return "  ".join(
        [head, *([step.recipient] if step.recipient else []), ", ".join(fact for fact in facts if fact)]
    ).rstrip()


def retracted_lines(mail: RetractedMail, zone: tzinfo | None = None) -> list[str]:
    """The answer to a retract for one mail; when it came too late for one of several recipients, where each stands."""
    first = f"{mail.id}: {mail.result.replace('_', ' ')}" + (f": {mail.detail}" if mail.detail else "")
    if mail.result is RetractResult.RETRACTED or len(mail.recipients) == 1:
        return [first]
    return [first, *(f"  {line}" for state in mail.recipients for line in recipient_lines(state, zone))]


def list_row(mail: MailLine, now: datetime, zone: tzinfo | None = None) -> list[str]:
    """A mail in a table: id, state, admitted, next try, recipients, subject."""
    tries = [state.next_try for state in mail.recipients if state.next_try is not None]
    return [
        mail.id,
        states_words([_state_word(state) for state in mail.recipients]),
        brief_time(mail.admitted, now, zone),
        brief_time(min(tries), now, zone) if tries else "",
        _addresses([state.address for state in mail.recipients]),
        mail.subject,
    ]


def _state_word(state: RecipientState) -> str:
    return f"{state.state} (in doubt)" if state.in_doubt and state.state != "in_doubt" else state.state


def states_words(states: Sequence[str]) -> str:
    """`delivered`, or `2 delivered, 1 deferred` where recipients differ."""
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _addresses(addresses: Sequence[str]) -> str:
    if len(addresses) <= 2:
        return ", ".join(addresses)
    return f"{addresses[0]} and {len(addresses) - 1} more"


def _at(host: str, worker: str) -> str:
    return " ".join(part for part in (f"at {host}" if host else "", f"by {worker}" if worker else "") if part)


def _reply(code: int, enhanced: str, text: str) -> str:
    return " ".join(part for part in (str(code) if code else "", enhanced, text.replace("\n", " ")) if part)


def _fine_time(time: datetime, zone: tzinfo | None) -> str:
    local = time.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d}"
