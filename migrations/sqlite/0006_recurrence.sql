-- `dirty` when the lease began: a push that came later is owed a pass of its own, and more of them owe nothing more.
ALTER TABLE calendar ADD COLUMN leased_dirty INTEGER NOT NULL DEFAULT 0;

-- Series that are not mirrored in full. Rows of a generation that is not the calendar's are like those of event.
CREATE TABLE limited_series (
    business_id    TEXT    NOT NULL,
    calendar_id    TEXT    NOT NULL,
    generation     INTEGER NOT NULL,
    series_id      TEXT    NOT NULL,
    why            TEXT    NOT NULL CHECK (why IN ('odd', 'truncated')),
    PRIMARY KEY (business_id, calendar_id, generation, series_id),
    FOREIGN KEY (business_id, calendar_id) REFERENCES calendar (business_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
