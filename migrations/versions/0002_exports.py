"""Files of a model that are built after its training.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE exports (
            model_id TEXT NOT NULL,
            name TEXT NOT NULL,
            state TEXT NOT NULL,
            fence BIGINT NOT NULL DEFAULT 0,
            tries INTEGER NOT NULL DEFAULT 0,
            worker_id TEXT,
            lease_until TIMESTAMP WITH TIME ZONE,
            reason TEXT,
            facts JSONB,
            created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT softreg_now(),
            updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT softreg_now(),
            CONSTRAINT exports_pkey PRIMARY KEY (model_id, name),
            CONSTRAINT exports_state_check CHECK (state IN ('building', 'ready', 'failed')),
            CONSTRAINT exports_model_id_fkey FOREIGN KEY (model_id) REFERENCES models (id) ON DELETE CASCADE
        )
        """
    )
    # What a worker looks through when no job waits.
    op.execute("CREATE INDEX exports_building_idx ON exports (created_at) WHERE state = 'building'")
    # A built file is final, and its fence never goes back.
    op.execute(
        """
        CREATE FUNCTION exports_guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.state <> 'building' OR NEW.fence < OLD.fence THEN
                RAISE EXCEPTION 'export % of %: it is %, and its fence never goes back',
                    OLD.name, OLD.model_id, OLD.state USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END
        $$
        """
    )
    op.execute("CREATE TRIGGER exports_guard BEFORE UPDATE ON exports FOR EACH ROW EXECUTE FUNCTION exports_guard()")
