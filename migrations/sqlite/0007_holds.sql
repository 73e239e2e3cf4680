-- Holds: their steps in the history, and what finds those that ran out and bookings that are over.

CREATE TABLE booking_history_new (
    business_id    TEXT    NOT NULL,
    booking_id     TEXT    NOT NULL,
    step           INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    what           TEXT    NOT NULL CHECK (what IN ('created', 'held', 'extended', 'confirmed', 'rescheduled', 'edited', 'cancelled', 'completed', 'expired', 'released', 'conflict')),
    source         TEXT    NOT NULL CHECK (source IN ('receptionist', 'owner', 'slotd')),
    state          TEXT    NOT NULL,
    start_at       INTEGER NOT NULL,
    end_at         INTEGER NOT NULL,
    PRIMARY KEY (business_id, booking_id, step),
    FOREIGN KEY (business_id, booking_id) REFERENCES booking (business_id, id)
) STRICT;
INSERT INTO booking_history_new (business_id, booking_id, step, at, what, source, state, start_at, end_at)
SELECT business_id, booking_id, step, at, what, source, state, start_at, end_at FROM booking_history;
DROP TABLE booking_history;
ALTER TABLE booking_history_new RENAME TO booking_history;

CREATE INDEX booking_held ON booking (state_at) WHERE state = 'held';
CREATE INDEX booking_ends ON booking (end_at) WHERE state = 'confirmed';
