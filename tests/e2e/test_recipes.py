"""The recipes of docs/recipes are run as they stand on their pages, and their mail arrives."""

import base64
import email.policy
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.node import PrivateNode
from tests.support.certificates import Authority
from tests.support.console import Console
from tests.support.gateway import PASSWORD, USER, Gateway, variables_for
from tests.support.pipeline import Pipeline, relay_to
from tests.support.postfix import PrivatePostfix
from tests.support.rabbitmq import delete_vhost, new_vhost
from tests.support.recipes import FOLDER, Recipe
from tests.support.sinks import RecordingSink

NODE_MODULES = Path(__file__).parents[2] / ".cache" / "recipes" / "node" / "node_modules"

# The subjects of the mails that arrive. No page has the number of another: it would be a duplicate.
HERE = {
    "django": ["Test email from ", "Your order 4711"],
    "celery": ["Your order 4711"],
    "pika": ["Your order 4713"],
    "curl": ["The backup is done", "Your order 4721"],
}
ELSEWHERE = {
    "node": ["Your order 4715", "Your order 4716"],
    "php": ["Your order 4717", "Your order 4718"],
    "go": ["Your order 4719", "Your order 4720"],
}
RUN_BY_HAND = ("README", "migration")  # tables, and what is tried below


class FrontDoors(NamedTuple):
    """In front of a whole pipeline, for all recipes."""

    gateway: Gateway
    console: Console
    sink: RecordingSink


@pytest.fixture(scope="module")
def running(
    rabbitmq: PrivateNode, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FrontDoors]:
    folder, url = tmp_path_factory.mktemp("recipes"), new_vhost(rabbitmq)
    variables = variables_for(folder, authority)
    with (
        RecordingSink() as sink,
        Pipeline(url, f"sqlite:///{folder}/mail.db", folder, relay_to(sink), environment=variables) as pipeline,
        Console(pipeline.amqp_url, folder / "console") as console,
    ):
        made = Gateway(pipeline, variables, authority)
        made.start()
        yield FrontDoors(made, console, sink)
    delete_vhost(rabbitmq, url)


def variables_of(gateway: Gateway, console: Console) -> dict[str, str]:
    """What docs/recipes/README.md says that programs read."""
    return {
        "AMQP_URL": gateway.pipeline.amqp_url,
        "SMTP_HOST": "localhost",
        "SMTP_PORT": str(gateway.port),
        "SMTP_USER": USER,
        "SMTP_PASSWORD": PASSWORD,
        "CONSOLE_URL": console.url,
        "CONSOLE_TOKEN": console.tokens["all"],
        "SSL_CERT_FILE": str(gateway.authority.file),
        "CURL_CA_BUNDLE": str(gateway.authority.file),  # goes before the other, should somebody have set it
        "NODE_EXTRA_CA_CERTS": str(gateway.authority.file),
        "NODE_PATH": str(NODE_MODULES),
    }


def arrives(name: str, subjects: list[str], running: FrontDoors, folder: Path) -> str:
    """Run a recipe; these mails arrive, once each, and no others."""
    gateway, console, sink = running
    sink.forget_mails()

    def arrived() -> None:
        sink.wait_for(len(subjects), 60)
        gateway.pipeline.client.wait_until(lambda: not gateway.pipeline.open_recipients(), "all final")

    said = Recipe(name).run(folder, variables_of(gateway, console), arrived)
    found = sorted(str(mail.message["Subject"]) for mail in sink.mails)
    assert len(found) == len(subjects), found
    assert all(one.startswith(other) for one, other in zip(found, sorted(subjects), strict=True)), found
    assert all(mail.recipients == ("ann@y.example",) for mail in sink.mails)
    assert not any(name.startswith("X-Pillarbox") for mail in sink.mails for name in mail.message)
    return said


@pytest.mark.parametrize("name", HERE)
def test_a_recipe_runs_and_its_mail_arrives(name: str, running: FrontDoors, tmp_path: Path):
    said = arrives(name, HERE[name], running, tmp_path)
    if name == "pika":
        assert said in ("{'retracted': 1}\n", "{'unknown': 1}\n")  # it may overtake its mail, and holds all the same


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.skipif("RECIPES" not in os.environ, reason="make recipes installs what it needs, and runs it")
def test_a_recipe_of_another_language_runs(name: str, running: FrontDoors, tmp_path: Path):
    arrives(name, ELSEWHERE[name], running, tmp_path)


def test_a_postfix_hands_over_to_the_gateway(running: FrontDoors, tmp_path: Path):
    gateway, _, sink = running
    sink.forget_mails()
    said = dict(re.findall(r"^(\w+) = (.+)$", Recipe("migration").files["main.cf"], re.MULTILINE))
    assert said.pop("relayhost") == "[gateway.example]:587"
    place, passwords = f"[localhost]:{gateway.port}", tmp_path / "gateway_password"
    passwords.write_text(f"{place} {USER}:{PASSWORD}\n", encoding="utf-8")
    said["smtp_sasl_password_maps"] = f"texthash:{passwords}"
    said["smtp_tls_CAfile"] = str(gateway.authority.file)
    said["smtp_host_lookup"] = "native"  # no DNS knows localhost
    with PrivatePostfix(deliver_by=f"smtp:{place}", parameters=said) as postfix:
        swaks = ["swaks", "--server", "127.0.0.1", "--port", str(postfix.port), "--from", "shop@x.example"]
        subprocess.run([*swaks, "--to", "ann@y.example", "--header", "Subject: by Postfix"], check=True, timeout=60)
        try:
            [mail] = sink.wait_for(1, 30)
        except TimeoutError as error:
            raise AssertionError("\n".join(postfix.log)) from error
    assert mail.message["Subject"] == "by Postfix"


def test_what_was_posted_to_postal_arrives_as_it_was(running: FrontDoors, tmp_path: Path):
    posted = json.loads(Recipe("migration").files["postal.json"])
    arrives("migration", [posted["subject"]], running, tmp_path)
    [mail] = running.sink.mails
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert [message["From"], message["Reply-To"]] == [posted["from"], posted["reply_to"]]
    assert [message["To"]] == posted["to"]
    assert {name: message[name] for name in posted["headers"]} == posted["headers"]
    for kind in ("plain", "html"):
        body = message.get_body((kind,))
        assert body is not None
        assert body.get_content().strip() == posted[f"{kind}_body"]
    [told], [attachment] = posted["attachments"], message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content_type()) == (told["name"], told["content_type"])
    assert attachment.get_payload(decode=True) == base64.b64decode(told["data"])
    story = json.loads((tmp_path / "story.json").read_text(encoding="utf-8"))
    assert (story["id"], story["batch"]) == ("order-4722", posted["tag"])


@pytest.mark.parametrize("name", [*HERE, *ELSEWHERE])
def test_each_page_says_with_what_it_was_run(name: str):
    assert re.search(r"\*Run with .*\d", Recipe(name).page)


def test_every_page_is_tried_and_listed():
    pages = {path.stem for path in FOLDER.glob("*.md")}
    assert pages == {*HERE, *ELSEWHERE, *RUN_BY_HAND}
    listed = re.findall(r"\]\((\w+)\.md\)", Recipe("README").page)
    assert set(listed) == pages - {"README"}
