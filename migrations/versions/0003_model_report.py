"""A model's full report, beside its metrics.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; models that are there have no report."""
    op.add_column("models", sa.Column("report", JSONB, nullable=True))


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("models", "report")
