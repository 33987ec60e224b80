"""`pillarbox demo`, against a running pipeline and against one of its own."""

from tests.support.up import Up, pillarbox

FEW = ("demo", "--mails", "12", "--hold", "4s")


def test_the_demo_shows_and_checks_a_running_pipeline(up: Up):
    said = up.command(*FEW)
    assert said.code == 0, said.out + said.err
    assert "using the pipeline that runs in" in said.err
    for words in ("12 mails are in the inbox", "retracted: it will not be sent", "too late: delivered at"):
        assert words in said.out
    assert said.out.count("yes ") == 6


def test_programs_get_the_checks_as_json_and_the_steps_aside(up: Up):
    said = up.command(*FEW, "--json")
    assert said.code == 0, said.out + said.err
    assert (said.json["ok"], [check["right"] for check in said.json["checks"]]) == (True, [True] * 6)
    assert "Taking one of them back" in said.err


def test_the_demo_sends_nothing_when_mail_would_leave_the_machine(up: Up):
    assert up.command("settings", "set", "delivery.mode=direct").code == 0
    said = up.command(*FEW)
    assert up.command("settings", "set", "delivery.mode=relay").code == 0
    assert said.code == 1
    assert "do not send all mail to the test inbox" in said.err


def test_the_demo_brings_its_own_pipeline_where_none_runs(tmp_path):
    said = pillarbox(*FEW, env={"PILLARBOX_HOME": str(tmp_path / "nowhere"), "TMPDIR": str(tmp_path)})
    assert said.code == 0, said.out + said.err
    assert "starting a private pipeline" in said.err
    assert list(tmp_path.iterdir()) == []
