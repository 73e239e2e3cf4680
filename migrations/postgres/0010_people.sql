-- Customers: finding their bookings, and inviting them to the event.

-- 1: customers with an e-mail address are invited to their booking's event.
ALTER TABLE business ADD COLUMN invite_customers BIGINT NOT NULL DEFAULT 0 CHECK (invite_customers IN (0, 1));

-- Whom slotd added to an event as a guest, or was about to. No row: nobody.
CREATE TABLE event_guest (
    business_id    TEXT    NOT NULL,
    event_id       TEXT    NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN ('asked', 'invited', 'refused')),
    emails         BYTEA    NOT NULL,  -- sealed: the latest address first, then those that may be on the event still
    refused_at     BIGINT,           -- when Google last refused to tell this guest
    PRIMARY KEY (business_id, event_id),
    FOREIGN KEY (business_id, event_id) REFERENCES booking_event (business_id, event_id)
);
CREATE INDEX event_guest_refused ON event_guest (business_id, refused_at) WHERE refused_at IS NOT NULL;

-- Searches with a wrong fact: about whom, by which key, and in all.
CREATE TABLE search_try (
    business_id    TEXT    NOT NULL REFERENCES business (id),
    subject        TEXT    NOT NULL,
    tries          BIGINT NOT NULL CHECK (tries >= 0),
    since          BIGINT NOT NULL,  -- when the first of them was
    PRIMARY KEY (business_id, subject)
);
CREATE INDEX search_try_since ON search_try (since);

CREATE INDEX booking_reference ON booking (business_id, reference) WHERE reference IS NOT NULL;

-- A step of its own for a customer whom Google did not let slotd invite.
ALTER TABLE booking_history DROP CONSTRAINT booking_history_what_check;
ALTER TABLE booking_history ADD CONSTRAINT booking_history_what_check
    CHECK (what IN ('created', 'held', 'extended', 'confirmed', 'rescheduled', 'edited', 'cancelled', 'completed', 'expired', 'released', 'conflict', 'not_invited'));
