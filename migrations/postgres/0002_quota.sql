-- Whose turn it is with Google, and how many calls the day has seen.

ALTER TABLE account ADD COLUMN paused_until BIGINT NOT NULL DEFAULT 0;         -- Google is not asked before, by Google's word
ALTER TABLE account ADD COLUMN writes_paused_until BIGINT NOT NULL DEFAULT 0;  -- nor are events written
ALTER TABLE account ADD COLUMN pause_reason TEXT;
ALTER TABLE account ADD COLUMN pass_at BIGINT NOT NULL DEFAULT 0;              -- when one of its calendars had its turn last
ALTER TABLE account ADD COLUMN delivery_at BIGINT NOT NULL DEFAULT 0;          -- when one of its deliveries had its turn last
CREATE INDEX account_paused ON account (paused_until) WHERE paused_until > 0;
CREATE INDEX account_writes_paused ON account (writes_paused_until) WHERE writes_paused_until > 0;

ALTER TABLE calendar ADD COLUMN asked_at BIGINT;   -- since when a caller waits for a look
ALTER TABLE calendar ADD COLUMN period_us BIGINT;  -- how often it is looked at while nobody watches it, as of the last pass
CREATE INDEX calendar_leased ON calendar (lease_until) WHERE lease_until > 0;

ALTER TABLE outbox ADD COLUMN account_id TEXT;  -- in whose name Google is to be told
CREATE INDEX outbox_leased ON outbox (lease_until) WHERE lease_until > 0;
UPDATE outbox
   SET account_id = (SELECT c.account_id FROM booking b
                       JOIN calendar c ON c.business_id = b.business_id AND c.id = b.calendar_id
                      WHERE b.business_id = outbox.business_id AND b.id = outbox.subject)
 WHERE kind = 'google.event';
UPDATE outbox
   SET account_id = (SELECT c.account_id FROM calendar c
                      WHERE c.business_id = outbox.business_id
                        AND c.id = split_part(outbox.subject, '/', 1))
 WHERE kind = 'google.removal';

-- What all nodes together asked of Google, by the day of its quota.
CREATE TABLE google_usage (
    day            TEXT    NOT NULL PRIMARY KEY,  -- YYYY-MM-DD in the zone in which Google counts
    calls          BIGINT  NOT NULL
);
