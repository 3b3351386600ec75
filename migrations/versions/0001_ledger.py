"""The ledger.

Revision ID: 0001
Revises: nothing
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table, guard and function. There is no way back from the first step but a new database."""
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    # By psycopg itself: SQLAlchemy would look for placeholders in the functions' bodies.
    op.get_bind().connection.driver_connection.execute(script)
