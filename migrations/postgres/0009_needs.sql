-- Services that need several resources at once: one of each group, the groups being numbered from 0. That of group 0 leads.
-- No row at all means that one resource is enough, by service_resource. A resource is in one group of a service.
CREATE TABLE service_need (
    business_id    TEXT    NOT NULL,
    service_id     TEXT    NOT NULL,
    resource_id    TEXT    NOT NULL,
    place          BIGINT  NOT NULL CHECK (place >= 0),
    PRIMARY KEY (business_id, service_id, resource_id),
    FOREIGN KEY (business_id, service_id) REFERENCES service (business_id, id) ON DELETE CASCADE,
    FOREIGN KEY (business_id, resource_id) REFERENCES resource (business_id, id) ON DELETE CASCADE
);
