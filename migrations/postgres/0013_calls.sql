-- What a running call is told: what it was offered, and that something changed.

ALTER TABLE business ADD COLUMN language TEXT NOT NULL DEFAULT 'en';  -- in which times are said

-- From then on the call is over; absent while it goes on.
ALTER TABLE call ADD COLUMN ended_at BIGINT;

-- Slots that a call was told of. A slot told again is one row.
CREATE TABLE call_offer (
    business_id TEXT   NOT NULL,
    call_id     TEXT   NOT NULL,
    resource_id TEXT   NOT NULL,
    start_at    BIGINT NOT NULL,
    end_at      BIGINT NOT NULL,
    service_id  TEXT,             -- absent for a bare time
    offered_at  BIGINT NOT NULL,  -- the last time
    PRIMARY KEY (business_id, call_id, resource_id, start_at, end_at),
    FOREIGN KEY (business_id, resource_id) REFERENCES resource (business_id, id),
    CHECK (start_at < end_at)
);
CREATE INDEX call_offer_age ON call_offer (offered_at);

-- Changes that other nodes are to hear of. Only what was added lately is kept.
CREATE TABLE change (
    business_id TEXT   NOT NULL,
    xid         BIGINT NOT NULL,  -- the transaction that made it
    part        TEXT   NOT NULL,  -- of the business: a resource, a calendar, its calls, or all of it
    at          BIGINT NOT NULL,
    PRIMARY KEY (business_id, xid, part)
);
CREATE INDEX change_xid ON change (xid);
