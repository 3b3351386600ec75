"""Alembic's entry: runs the steps on the connection that `softreg_jobs.bootstrap.migrate` hands over."""

from alembic import context

from softreg_jobs.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
