-- Audits: whether a mirror is what Google shows, when that was asked last, and what came of it.

-- One row for each calendar that was ever to be audited.
CREATE TABLE audit_plan (
    business_id    TEXT    NOT NULL,
    calendar_id    TEXT    NOT NULL,
    due_at         BIGINT,            -- when the next audit is to begin; absent: none is asked for
    lease_until    BIGINT  NOT NULL,
    fence          BIGINT  NOT NULL,
    tried_at       BIGINT,            -- the start of the last audit, however it ended
    audited_at     BIGINT,            -- the start of the last one that came to a result
    drifts         BIGINT  NOT NULL,  -- audits that found drift since the last one that found none of itself
    heal_after     BIGINT,            -- drift that came back is not healed before then
    healing        BIGINT,            -- the start of the audit whose drift is being healed
    PRIMARY KEY (business_id, calendar_id),
    FOREIGN KEY (business_id, calendar_id) REFERENCES calendar (business_id, id) ON DELETE CASCADE
);
CREATE INDEX audit_plan_due ON audit_plan (due_at) WHERE due_at IS NOT NULL;

-- What audits found. Holds no id, title or time of any event.
CREATE TABLE audit (
    business_id      TEXT    NOT NULL,
    calendar_id      TEXT    NOT NULL,
    started_at       BIGINT  NOT NULL,
    finished_at      BIGINT  NOT NULL,
    outcome          TEXT    NOT NULL CHECK (outcome IN ('equal', 'drift', 'failed')),
    missing_us       BIGINT  NOT NULL,  -- busy at Google and free here
    surplus_us       BIGINT  NOT NULL,  -- free at Google and busy here
    events_differing BIGINT  NOT NULL,
    events_compared  BIGINT  NOT NULL,
    healed_at        BIGINT,            -- when a later audit found that a full sync had healed it
    why              TEXT,              -- of a failure, in words without personal data
    PRIMARY KEY (business_id, calendar_id, started_at),
    FOREIGN KEY (business_id, calendar_id) REFERENCES calendar (business_id, id) ON DELETE CASCADE
);
CREATE INDEX audit_started ON audit (started_at);
