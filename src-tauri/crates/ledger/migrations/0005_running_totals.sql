-- How many tokens the jobs of a proxy in a session had been charged with up to each, so that a page need not add up all before it.
CREATE TABLE working (
    proxy_key     BLOB    NOT NULL CHECK (length(proxy_key) = 32),
    session       INTEGER NOT NULL REFERENCES session (id),
    -- end of the first job that is paid for; null: none yet
    began_unix_ms INTEGER,
    tokens        INTEGER NOT NULL CHECK (tokens >= 0),
    PRIMARY KEY (proxy_key, session)
) STRICT, WITHOUT ROWID;

INSERT INTO working
SELECT proxy_key, session, min(finished_unix_ms) FILTER (WHERE adjusted_total > 0), sum(max(adjusted_total, 0))
FROM job GROUP BY proxy_key, session;

ALTER TABLE job ADD COLUMN running INTEGER CHECK (running >= 0);

UPDATE job SET running = summed.running FROM (
    SELECT seq, sum(max(adjusted_total, 0)) OVER (PARTITION BY proxy_key, session ORDER BY seq) AS running FROM job) AS summed
WHERE job.seq = summed.seq;

CREATE INDEX payment_by_key ON payment (proxy_key, tokens, received_unix_ms);
