-- What a business wants when its owner moves or deletes a booking's event, and where calendar and bookings disagree.

ALTER TABLE business ADD COLUMN calendar_changes TEXT NOT NULL DEFAULT 'owner_wins'
    CHECK (calendar_changes IN ('owner_wins', 'keep_and_alert'));

-- What a booking meets: an event or another booking over its time, or an event of its own that is not as it should be.
CREATE TABLE conflict (
    business_id    TEXT    NOT NULL,
    id             TEXT    NOT NULL,  -- in the order of time
    booking_id     TEXT    NOT NULL,
    kind           TEXT    NOT NULL CHECK (kind IN ('event', 'booking', 'moved', 'deleted', 'series', 'all_day', 'unfit', 'free', 'declined')),
    resource_id    TEXT    NOT NULL,  -- where they meet; of a difference, the lead resource
    calendar_id    TEXT    NOT NULL,  -- of the event; empty for another booking
    meets          TEXT    NOT NULL,  -- Google's id of the event, or the other booking
    start_at       INTEGER,           -- when that is; absent when it cannot be told
    end_at         INTEGER,
    since_at       INTEGER NOT NULL,
    resolved_at    INTEGER,
    PRIMARY KEY (business_id, id),
    FOREIGN KEY (business_id, booking_id) REFERENCES booking (business_id, id)
) STRICT;
CREATE UNIQUE INDEX conflict_open ON conflict (business_id, booking_id, kind, resource_id, calendar_id, meets)
    WHERE resolved_at IS NULL;
CREATE INDEX conflict_meets ON conflict (business_id, meets) WHERE resolved_at IS NULL AND kind = 'booking';
CREATE INDEX conflict_resource ON conflict (business_id, resource_id) WHERE resolved_at IS NULL;

-- Resources whose conflicts changed and are not recorded yet.
CREATE TABLE conflict_due (
    business_id    TEXT    NOT NULL,
    resource_id    TEXT    NOT NULL,
    PRIMARY KEY (business_id, resource_id),
    FOREIGN KEY (business_id, resource_id) REFERENCES resource (business_id, id)
) STRICT;
