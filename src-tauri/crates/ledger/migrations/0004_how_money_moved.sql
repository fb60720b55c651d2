-- Money that left a wallet on this machine, from the wish to the end. A row is written before each step: what is signed stands here
-- before it is sent.
CREATE TABLE transfer (
    id              INTEGER PRIMARY KEY,
    -- the network it belongs to
    root_contract   BLOB    NOT NULL CHECK (length(root_contract) = 33),
    planned_unix_ms INTEGER NOT NULL,
    -- what the wallet sends
    recipient       BLOB    NOT NULL CHECK (length(recipient) = 33),
    nanoton         INTEGER NOT NULL CHECK (nanoton >= 0),
    bounce          INTEGER NOT NULL CHECK (bounce IN (0, 1)),
    body            BLOB             CHECK (length(body) BETWEEN 1 AND 65536),
    state_init      BLOB             CHECK (length(state_init) BETWEEN 1 AND 65536),
    -- of a payout only: where, and which part of the running total
    worker_contract BLOB             CHECK (length(worker_contract) = 33),
    proxy_contract  BLOB             CHECK (length(proxy_contract) = 33),
    from_tokens     INTEGER          CHECK (from_tokens >= 0),
    to_tokens       INTEGER          CHECK (to_tokens >= from_tokens),
    expected        INTEGER          CHECK (expected >= 0),
    -- what it would do, as tried before it was signed
    forecast_fees    INTEGER         CHECK (forecast_fees >= 0),
    forecast_income  INTEGER         CHECK (forecast_income >= 0),
    forecast_balance INTEGER         CHECK (forecast_balance >= 0),
    -- 0 planned, 1 signed, 2 ended
    stage           INTEGER NOT NULL CHECK (stage BETWEEN 0 AND 2),
    -- the signed bytes and how they are found again
    message         BLOB             CHECK (length(message) BETWEEN 1 AND 65536),
    message_hash    BLOB             CHECK (length(message_hash) = 32),
    seqno           INTEGER          CHECK (seqno BETWEEN 0 AND 4294967295),
    valid_until     INTEGER          CHECK (valid_until BETWEEN 0 AND 4294967295),
    -- 0 done, 1 failed, 2 expired, 3 overtaken, 4 not begun
    outcome         INTEGER          CHECK (outcome BETWEEN 0 AND 4),
    why             TEXT             CHECK (length(why) <= 400),
    fees            INTEGER          CHECK (fees >= 0),
    CHECK ((worker_contract IS NULL) = (to_tokens IS NULL)),
    CHECK ((stage = 2) = (outcome IS NOT NULL)),
    CHECK (stage <> 1 OR message IS NOT NULL)
) STRICT;

CREATE INDEX transfer_open ON transfer (root_contract, id) WHERE stage < 2;

-- Money that came to the owner's address, as the chain has it. Payouts are income; the rest is not.
CREATE TABLE receipt (
    seq       INTEGER PRIMARY KEY,
    root_contract BLOB NOT NULL CHECK (length(root_contract) = 33),
    owner     BLOB    NOT NULL CHECK (length(owner) = 33),
    sender    BLOB    NOT NULL CHECK (length(sender) = 33),
    nanoton   INTEGER NOT NULL CHECK (nanoton >= 0),
    is_payout INTEGER NOT NULL CHECK (is_payout IN (0, 1)),
    lt        INTEGER NOT NULL CHECK (lt >= 0),
    hash      BLOB    NOT NULL CHECK (length(hash) = 32),
    unix      INTEGER NOT NULL CHECK (unix BETWEEN 0 AND 4294967295),
    -- the transfer that brought it; null: somebody else's, or of a ledger that was lost
    transfer  INTEGER REFERENCES transfer (id),
    UNIQUE (owner, lt, hash)
) STRICT;

CREATE INDEX receipt_by_time ON receipt (owner, unix);
CREATE INDEX receipt_by_transfer ON receipt (transfer);
