-- Holds: their steps in the history, and what finds those that ran out and bookings that are over.

ALTER TABLE booking_history DROP CONSTRAINT booking_history_what_check;
ALTER TABLE booking_history ADD CONSTRAINT booking_history_what_check
    CHECK (what IN ('created', 'held', 'extended', 'confirmed', 'rescheduled', 'edited', 'cancelled', 'completed', 'expired', 'released', 'conflict'));

CREATE INDEX booking_held ON booking (state_at) WHERE state = 'held';
CREATE INDEX booking_ends ON booking (end_at) WHERE state = 'confirmed';
