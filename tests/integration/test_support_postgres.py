"""The private PostgreSQL cluster of the tests."""

import sqlalchemy as sa

from tests.support.postgres import PrivatePostgres


def test_every_test_gets_an_empty_database(postgres: PrivatePostgres, postgres_url: str):
    other = postgres.new_database()
    assert other != postgres_url
    for url in (postgres_url, other):
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE mail (id text)"))
            assert connection.execute(sa.text("SELECT count(*) FROM mail")).scalar() == 0
        engine.dispose()
