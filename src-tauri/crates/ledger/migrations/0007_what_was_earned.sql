-- What was earned in each quarter of an hour, so that a chart need not add up every job. Quarters, because the days of every time zone
-- begin with one.
CREATE TABLE quarter (
    -- its number since 1970
    at      INTEGER NOT NULL,
    session INTEGER NOT NULL REFERENCES session (id),
    -- jobs that ended in it with an answer
    answered INTEGER NOT NULL CHECK (answered >= 0),
    -- what jobs that ended in it were charged with
    tokens  INTEGER NOT NULL CHECK (tokens >= 0),
    -- by how much signed running totals rose in it, nanotons
    signed  INTEGER NOT NULL CHECK (signed >= 0),
    PRIMARY KEY (at, session)
) STRICT, WITHOUT ROWID;

-- What was done for a proxy and is not signed yet. A signature covers what was done before it; one that covers more is about work that
-- this file does not know.
CREATE TABLE unsigned (
    root_contract BLOB    NOT NULL CHECK (length(root_contract) = 33),
    proxy_key     BLOB    NOT NULL CHECK (length(proxy_key) = 32),
    nanoton       INTEGER NOT NULL CHECK (nanoton >= 0),
    PRIMARY KEY (root_contract, proxy_key)
) STRICT, WITHOUT ROWID;

-- How much of its running total a worker contract had paid when it was last looked at, and its last transaction then.
CREATE TABLE cashed (
    worker_contract BLOB    PRIMARY KEY CHECK (length(worker_contract) = 33),
    root_contract   BLOB    NOT NULL CHECK (length(root_contract) = 33),
    tokens          INTEGER NOT NULL CHECK (tokens >= 0),
    lt              INTEGER NOT NULL CHECK (lt >= 0)
) STRICT, WITHOUT ROWID;

-- How far the owner's account was searched for payouts: everything up to `floor_lt`, and of what is newer, from `top_lt` down to `next_lt`.
CREATE TABLE search (
    owner         BLOB    NOT NULL CHECK (length(owner) = 33),
    root_contract BLOB    NOT NULL CHECK (length(root_contract) = 33),
    floor_lt      INTEGER NOT NULL CHECK (floor_lt >= 0),
    top_lt        INTEGER          CHECK (top_lt >= floor_lt),
    next_lt       INTEGER          CHECK (next_lt <= top_lt),
    next_hash     BLOB             CHECK (length(next_hash) = 32),
    PRIMARY KEY (owner, root_contract),
    CHECK ((top_lt IS NULL) = (next_lt IS NULL) AND (top_lt IS NULL) = (next_hash IS NULL))
) STRICT, WITHOUT ROWID;

-- A quarter's number is rounded down, also before 1970. Amounts are held within what no honest network reaches, because a sum that is
-- too large would keep the file from being opened.
INSERT INTO quarter
SELECT at, session, sum(answered), sum(tokens), sum(signed) FROM (
    SELECT finished_unix_ms / 900000 - (finished_unix_ms % 900000 < 0) AS at, session, outcome IN (0, 2) AS answered,
        max(adjusted_total, 0) AS tokens, 0 AS signed
    FROM job
    UNION ALL
    SELECT received_unix_ms / 900000 - (received_unix_ms % 900000 < 0), session, 0, 0,
        min(max(nanoton - lag(nanoton, 1, 0) OVER (PARTITION BY worker_contract ORDER BY tokens), 0), 9007199254740992)
    FROM payment)
GROUP BY at, session;

-- What is left of all that was done is the height above the lowest point that the difference of both ever had.
INSERT INTO unsigned
SELECT root_contract, proxy_key, sum(worth) - min(min(level), 0) FROM (
    SELECT root_contract, proxy_key, worth,
        sum(worth) OVER (PARTITION BY root_contract, proxy_key ORDER BY at, is_signature, seq ROWS UNBOUNDED PRECEDING) AS level
    FROM (
        SELECT root_contract, proxy_key, finished_unix_ms AS at, 0 AS is_signature, seq,
            min(max(adjusted_total, 0) * fee_nanoton, 1000000000000) AS worth
        FROM job JOIN session ON session.id = job.session
        UNION ALL
        SELECT root_contract, proxy_key, received_unix_ms, 1, rise.seq, -min(max(rise.nanoton, 0), 9007199254740992)
        FROM (SELECT seq, session, proxy_key, received_unix_ms,
                  nanoton - lag(nanoton, 1, 0) OVER (PARTITION BY worker_contract ORDER BY tokens) AS nanoton
              FROM payment) AS rise
        JOIN session ON session.id = rise.session))
GROUP BY root_contract, proxy_key;

CREATE INDEX payout_by_time ON receipt (root_contract, lt, seq, unix, nanoton) WHERE is_payout;
CREATE INDEX transfer_by_contract ON transfer (worker_contract, outcome, to_tokens) WHERE worker_contract IS NOT NULL;
CREATE INDEX transfer_fees ON transfer (root_contract, stage, planned_unix_ms, fees);
