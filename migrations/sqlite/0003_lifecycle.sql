-- What becomes of calendars that Google shows no more, of channels that fall silent, and of bookings whose events are gone.

ALTER TABLE account ADD COLUMN list_due_at INTEGER;                         -- when its list of calendars is read next
ALTER TABLE account ADD COLUMN list_failures INTEGER NOT NULL DEFAULT 0;    -- in a row

ALTER TABLE calendar ADD COLUMN listed INTEGER NOT NULL DEFAULT 1;          -- 0: the account's list lacks it
ALTER TABLE calendar ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;          -- 1: the owner hides it in the list
ALTER TABLE calendar ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;        -- passes in a row that Google did not let in
ALTER TABLE calendar ADD COLUMN lost_at INTEGER;                            -- since when it cannot be read at all
ALTER TABLE calendar ADD COLUMN unannounced INTEGER NOT NULL DEFAULT 0;     -- passes with changes that no push announced, since the last push
ALTER TABLE calendar ADD COLUMN unannounced_at INTEGER;                     -- the first of them
ALTER TABLE calendar ADD COLUMN watch_failures INTEGER NOT NULL DEFAULT 0;  -- of channels, since the last push

-- doubted: missing together with many others, so what its read shows is judged with theirs
-- found:   Google says that it is gone, and others are still being read
-- asked:   the owner is asked whether the booking ends with it
-- kept:    the owner keeps the booking without an event
ALTER TABLE booking ADD COLUMN gone TEXT CHECK (gone IN ('doubted', 'found', 'asked', 'kept'));
CREATE INDEX booking_gone ON booking (business_id, calendar_id) WHERE gone IS NOT NULL;
