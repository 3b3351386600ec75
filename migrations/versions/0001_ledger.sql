-- The ledger: what jobs are, who works on them, what they produced.

-- The clock of every row and rule. Tests move it with ALTER DATABASE ... SET softreg.shift = '40 seconds'.
CREATE FUNCTION softreg_now() RETURNS TIMESTAMP WITH TIME ZONE LANGUAGE sql VOLATILE AS $$
    SELECT clock_timestamp() + coalesce(nullif(current_setting('softreg.shift', true), '')::interval, interval '0')
$$;

CREATE TABLE blobs (
    id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    state TEXT NOT NULL CONSTRAINT blobs_state_check CHECK (state IN ('uploading', 'published', 'discarded')),
    created_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    discarded_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT blobs_pkey PRIMARY KEY (id)
);

CREATE TABLE instance (
    id SMALLINT NOT NULL CONSTRAINT instance_single_check CHECK (id = 1),
    cursor_key BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    CONSTRAINT instance_pkey PRIMARY KEY (id)
);

CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (id)
);

CREATE TABLE tenants (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    CONSTRAINT tenants_pkey PRIMARY KEY (id),
    CONSTRAINT tenants_name_key UNIQUE (name)
);

CREATE TABLE workers (
    id TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    slots INTEGER NOT NULL,
    devices TEXT[] NOT NULL,
    state TEXT NOT NULL CONSTRAINT workers_state_check CHECK (state IN ('ready', 'sick', 'draining')),
    started_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    beat_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    CONSTRAINT workers_pkey PRIMARY KEY (id)
);

CREATE TABLE api_keys (
    id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    public TEXT NOT NULL,
    secret_sha256 BYTEA NOT NULL,
    scopes TEXT[] NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id),
    CONSTRAINT api_keys_public_key UNIQUE (public)
);

CREATE TABLE blob_chunks (
    blob_id TEXT NOT NULL,
    idx INTEGER NOT NULL,
    data BYTEA STORAGE EXTERNAL NOT NULL,
    crc32 BIGINT NOT NULL,
    CONSTRAINT blob_chunks_pkey PRIMARY KEY (blob_id, idx),
    CONSTRAINT blob_chunks_blob_id_fkey FOREIGN KEY (blob_id) REFERENCES blobs (id) ON DELETE CASCADE
);

CREATE TABLE datasets (
    id TEXT NOT NULL,
    tenant_id TEXT,
    name TEXT NOT NULL,
    format TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    report JSONB NOT NULL,
    blob_id TEXT NOT NULL,
    metadata JSONB DEFAULT '{}'::jsonb NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    CONSTRAINT datasets_pkey PRIMARY KEY (id),
    CONSTRAINT datasets_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id),
    CONSTRAINT datasets_blob_id_fkey FOREIGN KEY (blob_id) REFERENCES blobs (id)
);

CREATE INDEX datasets_tenant_id_id_idx ON datasets (tenant_id, id);

CREATE TABLE idempotency (
    tenant_id TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    body_sha256 TEXT NOT NULL,
    status SMALLINT NOT NULL,
    reply JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (tenant_id, route, key),
    CONSTRAINT idempotency_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE TABLE jobs (
    id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    parent_id TEXT,
    dataset_id TEXT NOT NULL,
    kind TEXT DEFAULT 'train' NOT NULL,
    name TEXT,
    metadata JSONB DEFAULT '{}'::jsonb NOT NULL,
    request_id TEXT,
    spec JSONB NOT NULL,
    spec_sha256 TEXT NOT NULL,
    resolution JSONB NOT NULL,
    warnings JSONB DEFAULT '[]'::jsonb NOT NULL,
    state TEXT NOT NULL CONSTRAINT jobs_state_check CHECK (
        state IN ('queued', 'running', 'pausing', 'paused', 'cancelling', 'succeeded', 'failed', 'cancelled')
    ),
    device_kind TEXT NOT NULL,
    priority SMALLINT NOT NULL,
    run_after TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    deadline_at TIMESTAMP WITH TIME ZONE,
    fence BIGINT DEFAULT '0' NOT NULL,
    event_seq BIGINT DEFAULT '0' NOT NULL,
    attempt INTEGER DEFAULT '0' NOT NULL,
    max_attempts INTEGER DEFAULT '3' NOT NULL,
    infra_faults INTEGER DEFAULT '0' NOT NULL,
    stalls INTEGER DEFAULT '0' NOT NULL,
    worker_id TEXT,
    cancel_requested_at TIMESTAMP WITH TIME ZONE,
    pause_requested_at TIMESTAMP WITH TIME ZONE,
    last_checkpoint_id TEXT,
    best_checkpoint_id TEXT,
    model_id TEXT,
    progress JSONB,
    metrics JSONB DEFAULT '{}'::jsonb NOT NULL,
    termination_reason TEXT,
    error JSONB,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT jobs_pkey PRIMARY KEY (id),
    CONSTRAINT jobs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id),
    CONSTRAINT jobs_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES jobs (id),
    CONSTRAINT jobs_dataset_id_fkey FOREIGN KEY (dataset_id) REFERENCES datasets (id)
);

CREATE INDEX jobs_claim_idx ON jobs (device_kind, priority DESC, run_after, id) WHERE state = 'queued';

CREATE INDEX jobs_tenant_id_id_idx ON jobs (tenant_id, id);

CREATE INDEX jobs_tenant_open_idx ON jobs (tenant_id) WHERE state IN ('queued', 'paused');

CREATE TABLE attempts (
    job_id TEXT NOT NULL,
    fence BIGINT NOT NULL,
    number INTEGER NOT NULL,
    worker_id TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT,
    exit_code INTEGER,
    signal INTEGER,
    max_rss BIGINT,
    device TEXT,
    from_checkpoint_id TEXT,
    from_step BIGINT DEFAULT '0' NOT NULL,
    log_tail TEXT,
    CONSTRAINT attempts_pkey PRIMARY KEY (job_id, fence),
    CONSTRAINT attempts_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE TABLE checkpoints (
    id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    fence BIGINT NOT NULL,
    step BIGINT NOT NULL,
    epoch INTEGER NOT NULL,
    blob_id TEXT NOT NULL,
    metrics JSONB NOT NULL,
    summary JSONB NOT NULL,
    is_best BOOLEAN DEFAULT false NOT NULL,
    pinned BOOLEAN DEFAULT false NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    CONSTRAINT checkpoints_pkey PRIMARY KEY (id),
    CONSTRAINT checkpoints_job_id_step_key UNIQUE (job_id, step),
    CONSTRAINT checkpoints_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE,
    CONSTRAINT checkpoints_blob_id_fkey FOREIGN KEY (blob_id) REFERENCES blobs (id)
);

CREATE TABLE job_events (
    job_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    type TEXT NOT NULL,
    level TEXT NOT NULL,
    data JSONB NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    CONSTRAINT job_events_pkey PRIMARY KEY (job_id, seq),
    CONSTRAINT job_events_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE TABLE leases (
    job_id TEXT NOT NULL,
    fence BIGINT NOT NULL,
    worker_id TEXT NOT NULL,
    beat_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lease_until TIMESTAMP WITH TIME ZONE NOT NULL,
    step BIGINT DEFAULT '0' NOT NULL,
    progress JSONB DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT leases_pkey PRIMARY KEY (job_id),
    CONSTRAINT leases_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE
)
 WITH (fillfactor = 50);

CREATE TABLE metrics (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    job_id TEXT NOT NULL,
    fence BIGINT NOT NULL,
    series TEXT NOT NULL,
    first_step BIGINT NOT NULL,
    steps BIGINT[] NOT NULL,
    values DOUBLE PRECISION[] NOT NULL,
    CONSTRAINT metrics_pkey PRIMARY KEY (id),
    CONSTRAINT metrics_job_id_fence_series_first_step_key UNIQUE (job_id, fence, series, first_step),
    CONSTRAINT metrics_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE INDEX metrics_job_id_id_idx ON metrics (job_id, id);

CREATE TABLE models (
    id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    metrics JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT softreg_now() NOT NULL,
    CONSTRAINT models_pkey PRIMARY KEY (id),
    CONSTRAINT models_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id),
    CONSTRAINT models_job_id_key UNIQUE (job_id),
    CONSTRAINT models_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE TABLE model_files (
    model_id TEXT NOT NULL,
    name TEXT NOT NULL,
    blob_id TEXT NOT NULL,
    media_type TEXT NOT NULL,
    CONSTRAINT model_files_pkey PRIMARY KEY (model_id, name),
    CONSTRAINT model_files_model_id_fkey FOREIGN KEY (model_id) REFERENCES models (id) ON DELETE CASCADE,
    CONSTRAINT model_files_blob_id_fkey FOREIGN KEY (blob_id) REFERENCES blobs (id)
);

-- A blob's row is deleted only when nothing refers to it: these find what does.
CREATE INDEX checkpoints_blob_id_idx ON checkpoints (blob_id);

CREATE INDEX model_files_blob_id_idx ON model_files (blob_id);

CREATE INDEX datasets_blob_id_idx ON datasets (blob_id);

-- A job's history of states, which every reply shows, among many events of its progress.
CREATE INDEX job_events_state_idx ON job_events (job_id, seq) WHERE type = 'state';

-- The legal moves, the same table as MOVES in softreg_jobs/states.py (a test holds the two together).
CREATE TABLE job_moves (
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    CONSTRAINT job_moves_pkey PRIMARY KEY (source, target)
);

INSERT INTO job_moves (source, target) VALUES
    ('queued', 'running'), ('queued', 'cancelled'), ('queued', 'failed'),
    ('running', 'succeeded'), ('running', 'failed'), ('running', 'pausing'), ('running', 'cancelling'),
    ('running', 'queued'),
    ('pausing', 'paused'), ('pausing', 'succeeded'), ('pausing', 'failed'), ('pausing', 'cancelling'),
    ('pausing', 'queued'),
    ('cancelling', 'cancelled'), ('cancelling', 'failed'),
    ('paused', 'queued'), ('paused', 'cancelled');

CREATE FUNCTION jobs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.fence < OLD.fence OR NEW.event_seq < OLD.event_seq THEN
        RAISE EXCEPTION 'job %: the fence and the event number never go back', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state <> OLD.state
       AND NOT EXISTS (SELECT FROM job_moves WHERE source = OLD.state AND target = NEW.state) THEN
        RAISE EXCEPTION 'job %: no move from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = OLD.state AND OLD.state IN ('succeeded', 'failed', 'cancelled')
       AND (NEW.fence, NEW.event_seq, NEW.model_id, NEW.error, NEW.termination_reason, NEW.finished_at, NEW.metrics)
           IS DISTINCT FROM
           (OLD.fence, OLD.event_seq, OLD.model_id, OLD.error, OLD.termination_reason, OLD.finished_at, OLD.metrics)
    THEN
        RAISE EXCEPTION 'job %: it is % and its result stands', OLD.id, OLD.state
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER jobs_guard BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION jobs_guard();

-- History is never rewritten; it goes only with its job.
CREATE FUNCTION job_events_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are never changed' USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER job_events_guard BEFORE UPDATE ON job_events FOR EACH ROW EXECUTE FUNCTION job_events_guard();

-- The keeper sleeps until there is something to send.
CREATE FUNCTION outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('softreg_keeper', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER outbox_wake AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake();

-- Everything that can change a job's course wakes whoever watches that job.
CREATE FUNCTION jobs_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('softreg_job', NEW.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_wake AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION jobs_wake();

INSERT INTO instance (id, cursor_key)
VALUES (1, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

INSERT INTO tenants (id, name) VALUES ('ten_default', 'default');
