"""How many jobs of a tenant wait, for the statement that submits one more, and how many of all are before one.

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


# Whoever asks for a job that waits is told its place: a stretch of this index, without a look at the jobs.
_QUEUE = """
CREATE INDEX jobs_queue_idx ON jobs (priority DESC, run_after, id) WHERE state = 'queued'
"""


def upgrade() -> None:
    """Add the function and the index."""
    op.execute(_WAITING)
    op.execute(_QUEUE)


def downgrade() -> None:
    """Take them away again."""
    op.execute("DROP INDEX jobs_queue_idx")
    op.execute("DROP FUNCTION softreg_waiting(TEXT)")
