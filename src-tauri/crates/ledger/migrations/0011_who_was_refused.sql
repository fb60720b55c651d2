-- Who was refused and why: a proxy that this PC does not trust, or this PC by a proxy. The same reason again is counted, not written anew.
CREATE TABLE refusal (
    id            INTEGER PRIMARY KEY,
    root_contract BLOB    NOT NULL CHECK (length(root_contract) = 33),
    endpoint      TEXT    NOT NULL,
    by_proxy      INTEGER NOT NULL CHECK (by_proxy IN (0, 1)),
    reason        TEXT    NOT NULL CHECK (length(reason) BETWEEN 1 AND 320),
    first_unix_ms INTEGER NOT NULL,
    last_unix_ms  INTEGER NOT NULL,
    times         INTEGER NOT NULL CHECK (times > 0),
    UNIQUE (root_contract, endpoint, by_proxy, reason)
) STRICT;
