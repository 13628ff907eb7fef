"""What several tests of searches need."""

from collections.abc import Iterator

import pytest

from tests.search.postgres import Postgres, find_initdb


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server with an empty database; a test that stops it starts it again."""
    server = Postgres(find_initdb())
    try:
        server.start()
        yield server
    finally:
        server.remove()
