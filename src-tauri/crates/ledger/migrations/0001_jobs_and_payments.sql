-- What happened: runs of the app, proxies met, jobs done, payments signed for us. Counts, keys and signatures only.
-- No column can hold a prompt or an answer; the text columns are named in a test of the crate.

-- When this file came to which version.
CREATE TABLE migration (
    version         INTEGER PRIMARY KEY,
    applied_unix_ms INTEGER NOT NULL
) STRICT;

-- A run of the app in one network at one set of prices.
CREATE TABLE session (
    id              INTEGER PRIMARY KEY,
    started_unix_ms INTEGER NOT NULL,
    root_contract   BLOB    NOT NULL CHECK (length(root_contract) = 33),
    params_version  INTEGER NOT NULL CHECK (params_version BETWEEN 0 AND 4294967295),
    fee_nanoton     INTEGER NOT NULL CHECK (fee_nanoton >= 0),
    served_as       TEXT    NOT NULL CHECK (length(served_as) <= 512)
) STRICT;

-- A proxy as it named itself when it was first met under these parameters.
CREATE TABLE proxy (
    id                 INTEGER PRIMARY KEY,
    endpoint           TEXT    NOT NULL CHECK (length(endpoint) <= 21),
    root_contract      BLOB    NOT NULL CHECK (length(root_contract) = 33),
    params_version     INTEGER NOT NULL CHECK (params_version BETWEEN 0 AND 4294967295),
    public_key         BLOB    NOT NULL CHECK (length(public_key) = 32),
    proxy_contract     BLOB    NOT NULL CHECK (length(proxy_contract) = 33),
    worker_contract    BLOB    NOT NULL CHECK (length(worker_contract) = 33),
    first_seen_unix_ms INTEGER NOT NULL,
    UNIQUE (root_contract, endpoint, params_version)
) STRICT;

-- A job that is over. `seq` grows in the order of writing and is what pages go by.
CREATE TABLE job (
    seq                 INTEGER PRIMARY KEY,
    session             INTEGER NOT NULL REFERENCES session (id),
    id                  BLOB    NOT NULL CHECK (length(id) = 32),
    proxy_key           BLOB    NOT NULL CHECK (length(proxy_key) = 32),
    started_unix_ms     INTEGER NOT NULL,
    finished_unix_ms    INTEGER NOT NULL,
    -- 0 answered, 1 refused, 2 stopped, 3 failed
    outcome             INTEGER NOT NULL CHECK (outcome BETWEEN 0 AND 3),
    -- the HTTP status of a refusal, the protocol's code of a failure, else 0
    outcome_code        INTEGER NOT NULL,
    prompt_tokens       INTEGER NOT NULL CHECK (prompt_tokens >= 0),
    cached_tokens       INTEGER NOT NULL CHECK (cached_tokens >= 0),
    completion_tokens   INTEGER NOT NULL CHECK (completion_tokens >= 0),
    reasoning_tokens    INTEGER NOT NULL CHECK (reasoning_tokens >= 0),
    -- thousandths
    coefficient         INTEGER NOT NULL,
    adjusted_prompt     INTEGER NOT NULL,
    adjusted_cached     INTEGER NOT NULL,
    adjusted_completion INTEGER NOT NULL,
    adjusted_reasoning  INTEGER NOT NULL,
    adjusted_total      INTEGER NOT NULL,
    streamed            INTEGER NOT NULL CHECK (streamed IN (0, 1)),
    -- 0 chat, 1 completions
    endpoint            INTEGER NOT NULL CHECK (endpoint IN (0, 1)),
    UNIQUE (session, id)
) STRICT;

-- Every new high that a proxy signed for one of our worker contracts. Tokens are running totals.
CREATE TABLE payment (
    seq              INTEGER PRIMARY KEY,
    session          INTEGER NOT NULL REFERENCES session (id),
    worker_contract  BLOB    NOT NULL CHECK (length(worker_contract) = 33),
    proxy_key        BLOB    NOT NULL CHECK (length(proxy_key) = 32),
    tokens           INTEGER NOT NULL CHECK (tokens >= 0),
    nanoton          INTEGER NOT NULL CHECK (nanoton >= 0),
    received_unix_ms INTEGER NOT NULL,
    -- the signed message as a bag of cells, ready to be presented
    boc              BLOB    NOT NULL CHECK (length(boc) BETWEEN 1 AND 4096),
    UNIQUE (worker_contract, tokens)
) STRICT;

CREATE INDEX payment_by_session ON payment (session, worker_contract, tokens);
