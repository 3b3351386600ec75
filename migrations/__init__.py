"""The database's schema, step by step (alembic). `softreg migrate` runs what is missing."""
