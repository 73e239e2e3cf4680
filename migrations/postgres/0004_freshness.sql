-- What a business wants done with a mirror that is behind Google.
ALTER TABLE business ADD COLUMN when_stale TEXT NOT NULL DEFAULT 'verify'
    CHECK (when_stale IN ('answer', 'verify', 'refuse'));
ALTER TABLE business ADD COLUMN when_unknown TEXT NOT NULL DEFAULT 'refuse'
    CHECK (when_unknown IN ('answer', 'refuse'));
