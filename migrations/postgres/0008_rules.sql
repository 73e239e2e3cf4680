-- How many bookings of a service a day may have, and dates on which somebody is not open as in other weeks.

ALTER TABLE service ADD COLUMN daily_cap BIGINT CHECK (daily_cap >= 1);
CREATE INDEX booking_of_service ON booking (business_id, service_id, start_at) WHERE service_id IS NOT NULL;

CREATE TABLE hours_override (
    business_id    TEXT    NOT NULL REFERENCES business (id),
    id             TEXT    NOT NULL,
    resource_id    TEXT,              -- everybody of the business when absent
    first_on       TEXT    NOT NULL,  -- dates as YYYY-MM-DD, both included
    last_on        TEXT    NOT NULL,
    hours          TEXT    NOT NULL,  -- openings of each of these dates, JSON; none when closed
    label          TEXT,
    created_at     BIGINT  NOT NULL,
    PRIMARY KEY (business_id, id),
    FOREIGN KEY (business_id, resource_id) REFERENCES resource (business_id, id) ON DELETE CASCADE,
    CHECK (first_on <= last_on)
);

-- What all resources of a business have to do in a week.
CREATE INDEX claim_of_business ON claim (business_id, start_at) WHERE active = 1;
