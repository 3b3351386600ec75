"""The tables, as SQLAlchemy sees them. migrations/ creates them; a test holds that the two agree.

Every time is the database's: `softreg_now()`, one SQL function, which only tests shift.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

__all__ = ["metadata", "now"]

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)


def now() -> Any:
    """The database's clock, as an SQL expression."""
    return func.softreg_now()


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _at(name: str, *, nullable: bool = False, filled: bool = False) -> Column[Any]:
    default = text("softreg_now()") if filled else None
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=default)


def _json(name: str, *, nullable: bool = False, default: str | None = None) -> Column[Any]:
    return Column(name, JSONB(none_as_null=True), nullable=nullable, server_default=text(default) if default else None)


def _ref(name: str, target: str, *, nullable: bool = False, cascade: bool = False) -> Column[str]:
    return Column(name, Text, ForeignKey(target, ondelete="CASCADE" if cascade else None), nullable=nullable)


instance = Table(
    "instance",
    metadata,
    Column("id", SmallInteger, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    Column("cursor_key", LargeBinary, nullable=False),
    _at("created_at", filled=True),
)

tenants = Table(
    "tenants", metadata, _id(), Column("name", Text, nullable=False, unique=True), _at("created_at", filled=True)
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    _ref("tenant_id", "tenants.id"),
    Column("name", Text, nullable=False),
    Column("public", Text, nullable=False, unique=True),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    _at("created_at", filled=True),
    _at("revoked_at", nullable=True),
)

_BLOB_STATES = "('uploading', 'published', 'discarded')"

blobs = Table(
    "blobs",
    metadata,
    _id(),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("state", Text, CheckConstraint(f"state IN {_BLOB_STATES}", name="state"), nullable=False),
    _at("created_at", filled=True),
    _at("discarded_at", nullable=True),
)

blob_chunks = Table(
    "blob_chunks",
    metadata,
    _ref("blob_id", "blobs.id", cascade=True),
    Column("idx", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("crc32", BigInteger, nullable=False),
    PrimaryKeyConstraint("blob_id", "idx"),
)

datasets = Table(
    "datasets",
    metadata,
    _id(),
    _ref("tenant_id", "tenants.id", nullable=True),  # none: a sample, everybody's
    Column("name", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    _json("report"),
    _ref("blob_id", "blobs.id"),
    _json("metadata", default="'{}'::jsonb"),
    _at("created_at", filled=True),
    Index("datasets_tenant_id_id_idx", "tenant_id", "id"),
    Index("datasets_blob_id_idx", "blob_id"),
)

_STATES = "('queued', 'running', 'pausing', 'paused', 'cancelling', 'succeeded', 'failed', 'cancelled')"

jobs = Table(
    "jobs",
    metadata,
    _id(),
    _ref("tenant_id", "tenants.id"),
    _ref("parent_id", "jobs.id", nullable=True),
    _ref("dataset_id", "datasets.id"),
    Column("kind", Text, nullable=False, server_default="train"),
    Column("name", Text),
    _json("metadata", default="'{}'::jsonb"),
    Column("request_id", Text),
    _json("spec"),
    Column("spec_sha256", Text, nullable=False),
    _json("resolution"),
    _json("warnings", default="'[]'::jsonb"),
    Column("state", Text, CheckConstraint(f"state IN {_STATES}", name="state"), nullable=False),
    Column("device_kind", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    _at("run_after", filled=True),
    _at("deadline_at", nullable=True),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("event_seq", BigInteger, nullable=False, server_default="0"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("max_attempts", Integer, nullable=False, server_default="3"),
    Column("infra_faults", Integer, nullable=False, server_default="0"),
    Column("stalls", Integer, nullable=False, server_default="0"),
    Column("worker_id", Text),
    _at("cancel_requested_at", nullable=True),
    _at("pause_requested_at", nullable=True),
    Column("last_checkpoint_id", Text),
    Column("best_checkpoint_id", Text),
    Column("model_id", Text),
    _json("progress", nullable=True),
    _json("metrics", default="'{}'::jsonb"),
    Column("termination_reason", Text),
    _json("error", nullable=True),
    _at("created_at", filled=True),
    _at("updated_at", filled=True),
    _at("started_at", nullable=True),
    _at("finished_at", nullable=True),
    Index(
        "jobs_claim_idx",
        "device_kind",
        text("priority DESC"),
        "run_after",
        "id",
        postgresql_where=text("state = 'queued'"),
    ),
    Index(
        "jobs_queue_idx",
        text("priority DESC"),
        "run_after",
        "id",
        postgresql_where=text("state = 'queued'"),
    ),
    Index("jobs_tenant_id_id_idx", "tenant_id", "id"),
    Index("jobs_tenant_open_idx", "tenant_id", postgresql_where=text("state IN ('queued', 'paused')")),
)

# The legal moves, as the trigger on `jobs` reads them; the same table as softreg_jobs.states.MOVES.
job_moves = Table(
    "job_moves",
    metadata,
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    PrimaryKeyConstraint("source", "target"),
)

# The only row that changes often while a job runs: half-empty pages keep its updates on the page (HOT).
leases = Table(
    "leases",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("fence", BigInteger, nullable=False),
    Column("worker_id", Text, nullable=False),
    _at("beat_at"),
    _at("lease_until"),
    Column("step", BigInteger, nullable=False, server_default="0"),
    _json("progress", default="'{}'::jsonb"),
    postgresql_with={"fillfactor": "50"},
)

attempts = Table(
    "attempts",
    metadata,
    _ref("job_id", "jobs.id", cascade=True),
    Column("fence", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("worker_id", Text, nullable=False),
    _at("started_at", filled=True),
    _at("ended_at", nullable=True),
    Column("outcome", Text),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("max_rss", BigInteger),
    Column("device", Text),
    Column("from_checkpoint_id", Text),
    Column("from_step", BigInteger, nullable=False, server_default="0"),
    Column("log_tail", Text),
    PrimaryKeyConstraint("job_id", "fence"),
)

job_events = Table(
    "job_events",
    metadata,
    _ref("job_id", "jobs.id", cascade=True),
    Column("seq", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("level", Text, nullable=False),
    _json("data"),
    _at("at", filled=True),
    PrimaryKeyConstraint("job_id", "seq"),
    Index("job_events_state_idx", "job_id", "seq", postgresql_where=text("type = 'state'")),
)

metrics = Table(
    "metrics",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _ref("job_id", "jobs.id", cascade=True),
    Column("fence", BigInteger, nullable=False),
    Column("series", Text, nullable=False),
    Column("first_step", BigInteger, nullable=False),
    Column("steps", ARRAY(BigInteger), nullable=False),
    Column("values", ARRAY(Double), nullable=False),
    UniqueConstraint("job_id", "fence", "series", "first_step"),
    Index("metrics_job_id_id_idx", "job_id", "id"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _id(),
    _ref("job_id", "jobs.id", cascade=True),
    Column("fence", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    _ref("blob_id", "blobs.id"),
    _json("metrics"),
    _json("summary"),
    Column("is_best", Boolean, nullable=False, server_default=text("false")),
    Column("pinned", Boolean, nullable=False, server_default=text("false")),
    _at("created_at", filled=True),
    UniqueConstraint("job_id", "step"),
    Index("checkpoints_blob_id_idx", "blob_id"),
)

models = Table(
    "models",
    metadata,
    _id(),
    _ref("tenant_id", "tenants.id"),
    Column("job_id", Text, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, unique=True),
    _json("metrics"),
    _json("report", nullable=True),  # none: stored before there were reports
    _at("created_at", filled=True),
)

model_files = Table(
    "model_files",
    metadata,
    _ref("model_id", "models.id", cascade=True),
    Column("name", Text, nullable=False),
    _ref("blob_id", "blobs.id"),
    Column("media_type", Text, nullable=False),
    PrimaryKeyConstraint("model_id", "name"),
    Index("model_files_blob_id_idx", "blob_id"),
)

_EXPORT_STATES = "('building', 'ready', 'failed')"

# Files of a model that are built after its training; a ready one stands in model_files too.
exports = Table(
    "exports",
    metadata,
    _ref("model_id", "models.id", cascade=True),
    Column("name", Text, nullable=False),
    Column("state", Text, CheckConstraint(f"state IN {_EXPORT_STATES}", name="state"), nullable=False),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("worker_id", Text),
    _at("lease_until", nullable=True),
    Column("reason", Text),
    _json("facts", nullable=True),
    _at("created_at", filled=True),
    _at("updated_at", filled=True),
    PrimaryKeyConstraint("model_id", "name"),
    Index("exports_building_idx", "created_at", postgresql_where=text("state = 'building'")),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    _at("created_at", filled=True),
)

idempotency = Table(
    "idempotency",
    metadata,
    _ref("tenant_id", "tenants.id", cascade=True),
    Column("route", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("body_sha256", Text, nullable=False),
    Column("status", SmallInteger, nullable=False),
    _json("reply"),
    _at("created_at", filled=True),
    PrimaryKeyConstraint("tenant_id", "route", "key"),
)

workers = Table(
    "workers",
    metadata,
    _id(),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("devices", ARRAY(Text), nullable=False),
    Column("state", Text, CheckConstraint("state IN ('ready', 'sick', 'draining')", name="state"), nullable=False),
    _at("started_at", filled=True),
    _at("beat_at", filled=True),
)
