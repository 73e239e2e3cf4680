-- Notices: what a business's own programs are told about its bookings, and what the operator is told about deliveries
-- that were given up.

-- Where notices of a business go.
CREATE TABLE webhook_endpoint (
    business_id    TEXT    NOT NULL REFERENCES business (id),
    id             TEXT    NOT NULL,
    url            BYTEA   NOT NULL,  -- sealed: it may hold a token
    secret         BYTEA   NOT NULL,  -- sealed: what notices are signed with
    description    TEXT    NOT NULL,
    events         TEXT    NOT NULL,  -- kinds of notices, separated by spaces; all when empty
    personal_data  BIGINT  NOT NULL,  -- 1: names, phone numbers and notes are sent too
    enabled        BIGINT  NOT NULL,
    disabled_why   TEXT,              -- owner, gone or failing
    disabled_told  BIGINT  NOT NULL,  -- 0: the operator is to be told that it was disabled
    failing_since  BIGINT,           -- of the failures in a row, the first
    paused_until   BIGINT  NOT NULL,  -- it asked to be left alone until then
    last_ok_at     BIGINT,
    last_error     TEXT,
    created_at     BIGINT  NOT NULL,
    PRIMARY KEY (business_id, id)
);
CREATE INDEX webhook_endpoint_untold ON webhook_endpoint (disabled_told) WHERE disabled_told = 0;

-- One row for each message to each endpoint. It is removed when the endpoint has it.
-- No foreign key: a booking does not fail because an endpoint is removed at that moment.
CREATE TABLE notice (
    business_id    TEXT    NOT NULL,
    id             TEXT    NOT NULL,
    endpoint_id    TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    subject        TEXT    NOT NULL,  -- the booking or calendar; its notices reach an endpoint in their order
    seq            BIGINT  NOT NULL,  -- that order
    payload        BYTEA   NOT NULL,  -- sealed
    due_at         BIGINT  NOT NULL,
    lease_until    BIGINT  NOT NULL,
    fence          BIGINT  NOT NULL,
    attempts       BIGINT  NOT NULL,
    dead           BIGINT  NOT NULL,  -- 1: given up, waits for a person
    told           BIGINT  NOT NULL,  -- 1: the operator was told that it is dead
    last_error     TEXT,
    created_at     BIGINT  NOT NULL,
    PRIMARY KEY (business_id, id)
);
CREATE INDEX notice_due ON notice (due_at) WHERE dead = 0;
CREATE INDEX notice_leased ON notice (lease_until) WHERE lease_until > 0;
CREATE INDEX notice_order ON notice (business_id, endpoint_id, subject, seq);
CREATE INDEX notice_dead ON notice (told) WHERE dead = 1;

-- What the operator is told, by mail or by a POST. Holds no personal data.
CREATE TABLE operator_notice (
    id             TEXT    NOT NULL PRIMARY KEY,
    channel        TEXT    NOT NULL CHECK (channel IN ('mail', 'post')),
    body           TEXT    NOT NULL,  -- JSON
    due_at         BIGINT  NOT NULL,
    lease_until    BIGINT  NOT NULL,
    fence          BIGINT  NOT NULL,
    attempts       BIGINT  NOT NULL,
    dead           BIGINT  NOT NULL,
    last_error     TEXT,
    created_at     BIGINT  NOT NULL
);

ALTER TABLE outbox ADD COLUMN told BIGINT  NOT NULL DEFAULT 0;  -- 1: the operator was told that it is dead
CREATE INDEX outbox_dead ON outbox (told) WHERE dead = 1;
