"""How does a PostgreSQL database get the tables that this program needs?"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from upshift.store.backend import StoreTroubleError
from upshift.store.postgres import Connection, troubles
from upshift.store.postgres_schema import VERSION, check_version

_SCRIPTS = Path(__file__).parent / "migrations"
_MIGRATING = 7_301_944_602
"""The advisory lock that one migration at a time holds."""
_SECONDS = 3600.0


def prepare(url: str) -> bool:
    """Bring the tables to this program's version; True when there was something to do.

    All in one transaction, and only one process at a time; a gateway may go on working meanwhile. Raises
    StoreVersionError for a store that is newer in a way that this program does not understand, StoreTroubleError.
    """
    with troubles():
        connection = Connection.open(url, _SECONDS)
    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=NullPool)
    try:
        with troubles():
            connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATING,))
            if check_version(connection) >= VERSION:
                return False
            connection.autocommit = False
        with engine.begin() as bound:
            config = Config()
            config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
            config.attributes["connection"] = bound
            command.upgrade(config, "head")
        return True
    except SQLAlchemyError as error:
        raise StoreTroubleError(" ".join(str(error).split())) from error
    finally:
        connection.close()
        engine.dispose()
