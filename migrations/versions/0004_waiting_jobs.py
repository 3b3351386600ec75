"""How many jobs of a tenant wait, for the statement that submits one more.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"

# VOLATILE: each call sees what was committed until then, also within a statement that began earlier and has waited
# for the tenant's lock since. The count of the statement itself would be too low by those for whom it waited.
_WAITING = """
CREATE FUNCTION softreg_waiting(tenant TEXT) RETURNS BIGINT LANGUAGE sql VOLATILE AS $$
    SELECT count(*) FROM jobs WHERE tenant_id = tenant AND state IN ('queued', 'paused')
$$
"""


def upgrade() -> None:
    """Add the function."""
    op.execute(_WAITING)


def downgrade() -> None:
    """Take it away again."""
    op.execute("DROP FUNCTION softreg_waiting(TEXT)")
