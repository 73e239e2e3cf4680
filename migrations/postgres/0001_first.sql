-- Instants are microseconds since 1970-01-01T00:00Z, flags are 0 or 1, ids are UUIDs as text.
-- Columns marked "sealed" hold AES-256-GCM envelopes bound to business, table, column and row.
-- Every key begins with business_id, so that the tables can be partitioned or distributed by it.

-- Equality of text inside an exclusion constraint.
CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE business (
    id             TEXT    NOT NULL PRIMARY KEY,
    name           TEXT    NOT NULL,
    time_zone      TEXT    NOT NULL,
    region         TEXT    NOT NULL,  -- ISO 3166-1 alpha-2: how phone numbers without a country code are read
    hours          TEXT    NOT NULL,  -- weekly opening hours, JSON
    event_title    TEXT    NOT NULL,  -- template of the calendar event
    event_body     TEXT    NOT NULL,  -- template of the calendar event
    wrapped_keys   BYTEA   NOT NULL,  -- the data and phone index keys, wrapped by a master key
    created_at     BIGINT  NOT NULL
);

CREATE TABLE resource (
    business_id    TEXT    NOT NULL REFERENCES business (id),
    id             TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    time_zone      TEXT,              -- the business's when absent
    hours          TEXT,              -- the business's when absent
    capacity       BIGINT  NOT NULL CHECK (capacity >= 1),
    created_at     BIGINT  NOT NULL,
    PRIMARY KEY (business_id, id)
);

CREATE TABLE service (
    business_id        TEXT    NOT NULL REFERENCES business (id),
    id                 TEXT    NOT NULL,
    name               TEXT    NOT NULL,
    duration_min       BIGINT  NOT NULL CHECK (duration_min >= 1),
    buffer_before_min  BIGINT  NOT NULL CHECK (buffer_before_min >= 0),
    buffer_after_min   BIGINT  NOT NULL CHECK (buffer_after_min >= 0),
    slot_step_min      BIGINT  NOT NULL CHECK (slot_step_min >= 1),
    minimum_notice_min BIGINT  NOT NULL CHECK (minimum_notice_min >= 0),
    horizon_days       BIGINT  NOT NULL CHECK (horizon_days >= 1),
    created_at         BIGINT  NOT NULL,
    PRIMARY KEY (business_id, id)
);

-- Which resources may do a service. No row at all means every resource.
CREATE TABLE service_resource (
    business_id    TEXT    NOT NULL,
    service_id     TEXT    NOT NULL,
    resource_id    TEXT    NOT NULL,
    PRIMARY KEY (business_id, service_id, resource_id),
    FOREIGN KEY (business_id, service_id) REFERENCES service (business_id, id) ON DELETE CASCADE,
    FOREIGN KEY (business_id, resource_id) REFERENCES resource (business_id, id) ON DELETE CASCADE
);

CREATE TABLE account (
    business_id    TEXT    NOT NULL REFERENCES business (id),
    id             TEXT    NOT NULL,
    kind           TEXT    NOT NULL CHECK (kind IN ('oauth', 'service_account')),
    subject        TEXT    NOT NULL,  -- Google's `sub`, or the delegated user for a service account (then hashed)
    email          BYTEA   NOT NULL,  -- sealed
    status         TEXT    NOT NULL CHECK (status IN ('connected', 'needs_reconnect', 'disconnected')),
    credential     BYTEA,              -- sealed: the refresh token, or the delegated user
    scopes         TEXT    NOT NULL,  -- granted, separated by spaces
    last_error     TEXT,
    connected_at   BIGINT  NOT NULL,
    created_at     BIGINT  NOT NULL,
    PRIMARY KEY (business_id, id),
    UNIQUE (business_id, subject)
);

CREATE TABLE calendar (
    business_id    TEXT    NOT NULL,
    id             TEXT    NOT NULL,
    account_id     TEXT    NOT NULL,
    google_id      TEXT    NOT NULL,
    summary        BYTEA   NOT NULL,  -- sealed
    time_zone      TEXT    NOT NULL,
    access_role    TEXT    NOT NULL,
    resource_id    TEXT,              -- whom it concerns; nobody when absent
    blocks         BIGINT  NOT NULL,  -- its events make the resource busy
    target         BIGINT  NOT NULL,  -- bookings of the resource are written to it
    version        BIGINT  NOT NULL,  -- rises with each visible change of its mirror
    generation     BIGINT  NOT NULL,  -- which rows of event and busy_slot are served
    sync_token     TEXT,              -- of the served generation; absent before the first full sync
    as_of          BIGINT,           -- start of the last successful pass
    covered_from   BIGINT,           -- the window that busy_slot covers
    covered_to     BIGINT,
    longest_us     BIGINT  NOT NULL,  -- no busy slot lasts longer; bounds the search for overlaps
    odd_events     BIGINT  NOT NULL,  -- items that could only be read in part
    synced_events  BIGINT  NOT NULL,  -- items read by the pass under way, for its progress
    dirty          BIGINT  NOT NULL,  -- rises with each push; a pass is owed while it is above seen
    seen           BIGINT  NOT NULL,
    pushed_at      BIGINT,           -- the oldest push that no pass has answered
    due_at         BIGINT  NOT NULL,  -- when to look at Google next
    lease_until    BIGINT  NOT NULL,
    fence          BIGINT  NOT NULL,
    failures       BIGINT  NOT NULL,  -- in a row
    last_error     TEXT,
    watchable      BIGINT  NOT NULL,  -- 0: Google cannot push for it, so it is polled
    watch_due_at   BIGINT  NOT NULL,  -- when the channel must be made or renewed
    created_at     BIGINT  NOT NULL,
    PRIMARY KEY (business_id, id),
    UNIQUE (business_id, account_id, google_id),
    FOREIGN KEY (business_id, account_id) REFERENCES account (business_id, id),
    FOREIGN KEY (business_id, resource_id) REFERENCES resource (business_id, id)
);
CREATE UNIQUE INDEX calendar_target ON calendar (business_id, resource_id) WHERE target = 1;
CREATE INDEX calendar_due ON calendar (due_at);

CREATE TABLE channel (
    business_id        TEXT    NOT NULL,
    id                 TEXT    NOT NULL,
    calendar_id        TEXT    NOT NULL,
    token_hash         BYTEA   NOT NULL,
    google_resource_id TEXT,
    state              TEXT    NOT NULL CHECK (state IN ('pending', 'live', 'stopping')),
    expires_at         BIGINT  NOT NULL,
    created_at         BIGINT  NOT NULL,
    PRIMARY KEY (business_id, id),
    FOREIGN KEY (business_id, calendar_id) REFERENCES calendar (business_id, id)
);
CREATE UNIQUE INDEX channel_id ON channel (id);
CREATE INDEX channel_calendar ON channel (business_id, calendar_id);

-- Mirrored events. Rows of a generation that is not the calendar's are being staged or wait to be purged.
CREATE TABLE event (
    business_id    TEXT    NOT NULL,
    calendar_id    TEXT    NOT NULL,
    generation     BIGINT  NOT NULL,
    event_id       TEXT    NOT NULL,
    series_id      TEXT    NOT NULL,  -- of the master, for exceptions
    recurs         BIGINT  NOT NULL,  -- 1: a master or an exception
    etag           TEXT,
    facts          TEXT    NOT NULL,  -- what decides when somebody is busy, JSON; no title, no guests
    title          BYTEA,              -- sealed
    PRIMARY KEY (business_id, calendar_id, generation, event_id)
);
CREATE INDEX event_series ON event (business_id, calendar_id, generation, series_id) WHERE recurs = 1;

CREATE TABLE busy_slot (
    business_id    TEXT    NOT NULL,
    calendar_id    TEXT    NOT NULL,
    generation     BIGINT  NOT NULL,
    start_at       BIGINT  NOT NULL,
    end_at         BIGINT  NOT NULL,
    event_id       TEXT    NOT NULL,
    series_id      TEXT    NOT NULL,
    PRIMARY KEY (business_id, calendar_id, generation, start_at, end_at, event_id),
    CHECK (start_at < end_at)
);
CREATE INDEX busy_slot_series ON busy_slot (business_id, calendar_id, generation, series_id);

CREATE TABLE call (
    business_id       TEXT    NOT NULL REFERENCES business (id),
    call_id           TEXT    NOT NULL,
    calendar_event_id TEXT,           -- of the latest booking made in the call
    started_at        BIGINT  NOT NULL,
    seen_at           BIGINT  NOT NULL,
    PRIMARY KEY (business_id, call_id)
);

-- Holds and bookings. A hold keeps its id when it is confirmed.
CREATE TABLE booking (
    business_id      TEXT    NOT NULL REFERENCES business (id),
    id               TEXT    NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('held', 'confirmed', 'completed', 'cancelled', 'expired', 'released')),
    state_at         BIGINT  NOT NULL,  -- since when; of a hold: until when
    state_by         TEXT,              -- who cancelled
    resource_id      TEXT    NOT NULL,  -- the lead resource
    service_id       TEXT,
    start_at         BIGINT  NOT NULL,
    end_at           BIGINT  NOT NULL,
    before_us        BIGINT  NOT NULL,  -- buffers that the claim adds
    after_us         BIGINT  NOT NULL,
    customer         BYTEA,              -- sealed: name, phone, e-mail, notes
    phone_index      BYTEA,              -- HMAC of the E.164 number
    reference        TEXT,              -- the receptionist's own
    call_id          TEXT,
    version          BIGINT  NOT NULL,  -- rises with each change that Google must be told
    calendar_id      TEXT,              -- where the event is, or is to be, written
    event_id         TEXT,
    event_generation BIGINT  NOT NULL,
    calendar_sync    TEXT    NOT NULL CHECK (calendar_sync IN ('none', 'pending', 'synced', 'failed')),
    sent_version     BIGINT,           -- a write of this version is in flight, or its answer was lost
    sent_start_at    BIGINT,
    sent_end_at      BIGINT,
    written_version  BIGINT,           -- what Google is known to hold
    written_start_at BIGINT,
    written_end_at   BIGINT,
    written_etag     TEXT,
    written_texts    BYTEA,              -- HMAC of the title and description that slotd wrote last
    recheck          BIGINT  NOT NULL,  -- 1: the event is to be read again before anything is decided
    created_at       BIGINT  NOT NULL,
    updated_at       BIGINT  NOT NULL,
    PRIMARY KEY (business_id, id),
    FOREIGN KEY (business_id, resource_id) REFERENCES resource (business_id, id),
    CHECK (start_at < end_at)
);
CREATE INDEX booking_start ON booking (business_id, start_at, id);
CREATE INDEX booking_phone ON booking (business_id, phone_index) WHERE phone_index IS NOT NULL;
CREATE INDEX booking_call ON booking (business_id, call_id) WHERE call_id IS NOT NULL;

-- Every event id that slotd ever derived, so that its own events are recognized wherever they turn up.
CREATE TABLE booking_event (
    business_id    TEXT    NOT NULL,
    event_id       TEXT    NOT NULL,
    booking_id     TEXT    NOT NULL,
    calendar_id    TEXT    NOT NULL,
    PRIMARY KEY (business_id, event_id),
    FOREIGN KEY (business_id, booking_id) REFERENCES booking (business_id, id)
);

-- What a booking occupies: buffers included, one row for each resource.
CREATE TABLE claim (
    business_id    TEXT    NOT NULL,
    resource_id    TEXT    NOT NULL,
    booking_id     TEXT    NOT NULL,
    start_at       BIGINT  NOT NULL,
    end_at         BIGINT  NOT NULL,
    active         BIGINT  NOT NULL,
    exclusive      BIGINT  NOT NULL,  -- the resource has capacity 1
    forced         BIGINT  NOT NULL,  -- the owner moved it here in Google, over whatever was there
    expires_at     BIGINT,           -- of a hold: from then on it no longer counts
    PRIMARY KEY (business_id, resource_id, booking_id),
    FOREIGN KEY (business_id, resource_id) REFERENCES resource (business_id, id),
    FOREIGN KEY (business_id, booking_id) REFERENCES booking (business_id, id),
    CHECK (start_at < end_at),
    CHECK (end_at - start_at <= 604800000000),  -- a week; bounds the search for overlaps
    -- The constraint behind the lock: two active claims of a resource that holds one booking never meet.
    CONSTRAINT claim_no_overlap EXCLUDE USING gist (
        business_id WITH =, resource_id WITH =, int8range(start_at, end_at) WITH &&
    ) WHERE (active = 1 AND exclusive = 1 AND forced = 0)
);
CREATE INDEX claim_time ON claim (business_id, resource_id, start_at) WHERE active = 1;
CREATE INDEX claim_booking ON claim (business_id, booking_id);

CREATE TABLE booking_history (
    business_id    TEXT    NOT NULL,
    booking_id     TEXT    NOT NULL,
    step           BIGINT  NOT NULL,
    at             BIGINT  NOT NULL,
    what           TEXT    NOT NULL CHECK (what IN ('created', 'rescheduled', 'edited', 'cancelled', 'completed', 'expired', 'released', 'conflict')),
    source         TEXT    NOT NULL CHECK (source IN ('receptionist', 'owner', 'slotd')),
    state          TEXT    NOT NULL,
    start_at       BIGINT  NOT NULL,
    end_at         BIGINT  NOT NULL,
    PRIMARY KEY (business_id, booking_id, step),
    FOREIGN KEY (business_id, booking_id) REFERENCES booking (business_id, id)
);

-- Deliveries owed to the outside. A delivered row is deleted.
CREATE TABLE outbox (
    business_id    TEXT    NOT NULL,
    id             TEXT    NOT NULL,
    kind           TEXT    NOT NULL CHECK (kind IN ('google.event', 'google.removal')),
    subject        TEXT    NOT NULL,  -- what it is about; at most one row for each kind and subject
    payload        BYTEA,              -- sealed
    revision       BIGINT  NOT NULL,  -- rises when the delivery is asked for again
    due_at         BIGINT  NOT NULL,
    lease_until    BIGINT  NOT NULL,
    fence          BIGINT  NOT NULL,
    attempts       BIGINT  NOT NULL,
    dead           BIGINT  NOT NULL,  -- 1: given up, waits for a person
    last_error     TEXT,
    created_at     BIGINT  NOT NULL,
    PRIMARY KEY (business_id, id),
    UNIQUE (business_id, kind, subject)
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE dead = 0;

CREATE TABLE idempotency (
    business_id    TEXT    NOT NULL,
    key            TEXT    NOT NULL,
    request_hash   BYTEA   NOT NULL,
    status         BIGINT  NOT NULL,
    body           BYTEA   NOT NULL,  -- sealed
    created_at     BIGINT  NOT NULL,
    PRIMARY KEY (business_id, key)
);
CREATE INDEX idempotency_created ON idempotency (created_at);

CREATE TABLE api_key (
    id             TEXT    NOT NULL PRIMARY KEY,
    business_id    TEXT    REFERENCES business (id),  -- absent: the whole platform
    prefix         TEXT    NOT NULL UNIQUE,
    hash           BYTEA   NOT NULL,
    scope          TEXT    NOT NULL CHECK (scope IN ('receptionist', 'owner', 'admin')),
    label          TEXT    NOT NULL,
    expires_at     BIGINT,
    revoked_at     BIGINT,
    created_at     BIGINT  NOT NULL
);

-- A Google consent under way.
CREATE TABLE oauth_state (
    state_hash     BYTEA   NOT NULL PRIMARY KEY,
    business_id    TEXT    NOT NULL REFERENCES business (id),
    verifier       BYTEA   NOT NULL,  -- sealed: the PKCE code verifier
    browser_hash   BYTEA   NOT NULL,
    return_to      TEXT,
    expires_at     BIGINT  NOT NULL
);
