"""A hot statement takes values in the order in which it uses them, and says so where they come in another."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from shared.hot_statements import HotStatement, among, numbers_for

things = sa.Table("things", sa.MetaData(), sa.Column("no", sa.Integer, primary_key=True), sa.Column("name", sa.Text))

INSERT = HotStatement(lambda _: sa.insert(things), ("no", "name"))


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    with sa.create_engine("sqlite://").begin() as connection:
        things.create(connection)
        assert INSERT.run_for_each(connection, [(1, "one"), (2, "two"), (3, "three")]) == 3
        yield connection


@pytest.mark.parametrize(("numbers", "names"), [([], []), ([2], ["two"]), ([3, 4, 1], ["one", "three"])])
def test_one_text_finds_any_count_of_numbers(connection, numbers, names):
    find = HotStatement(lambda c: sa.select(things.c.name).where(among(c, things.c.no)).order_by(things.c.no))
    assert find.run(connection, numbers=numbers_for(connection, numbers)) == [(name,) for name in names]


def test_what_a_statement_says_itself_is_not_asked_for(connection):
    rename = HotStatement(lambda _: sa.update(things).where(things.c.no == sa.bindparam("of")).values(name="other"))
    assert rename.run(connection, of=2) == []
    assert connection.execute(sa.select(things.c.name).order_by(things.c.no)).scalars().all() == [
        "one",
        "other",
        "three",
    ]


def test_rows_that_concern_none_and_no_rows_at_all_are_counted_as_none(connection):
    delete = HotStatement(lambda _: sa.delete(things).where(things.c.no == sa.bindparam("of")), ["of"])
    assert delete.run_for_each(connection, [(1,), (9,), (3,)]) == 2
    assert delete.run_for_each(connection, []) == 0


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        (sa.insert(things), ("name", "no")),
        (sa.delete(things).where(things.c.no == sa.bindparam("of")), ("no",)),
        (sa.update(things).where(things.c.no == sa.bindparam("of")).values(name="other"), ("of",)),  # not all are rows'
    ],
)
def test_rows_of_other_values_or_in_another_order_are_refused(connection, statement, row):
    with pytest.raises(ValueError, match="the statement takes"):
        HotStatement(lambda _: statement, row).run_for_each(connection, [(1, "one")])
