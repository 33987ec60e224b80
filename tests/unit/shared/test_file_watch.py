"""Whether files have changed."""

from pathlib import Path

from shared.file_watch import FileWatch


def test_a_file_that_is_written_replaced_made_or_removed_has_changed(tmp_path: Path):
    file, other = tmp_path / "a", tmp_path / "b"
    watch = FileWatch(file, other)
    assert not watch.changed()
    file.write_text("x")
    assert [watch.changed(), watch.changed()] == [True, False]
    file.write_text("xy")
    assert watch.changed()
    other.write_text("xy")
    other.replace(file)
    assert [watch.changed(), watch.changed()] == [True, False]
    file.unlink()
    assert watch.changed()
