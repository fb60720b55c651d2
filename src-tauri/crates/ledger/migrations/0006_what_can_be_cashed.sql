-- Our contract at a proxy, with what it takes to bring it onto the chain: it may have to be done long after the network's parameters
-- have changed, and long after the proxy's key was let go of.
CREATE TABLE contract (
    worker_contract BLOB    PRIMARY KEY CHECK (length(worker_contract) = 33),
    root_contract   BLOB    NOT NULL CHECK (length(root_contract) = 33),
    proxy_contract  BLOB    NOT NULL CHECK (length(proxy_contract) = 33),
    -- what the contract pays for a token, whatever the network pays today
    fee_nanoton     INTEGER NOT NULL CHECK (fee_nanoton >= 0),
    -- its code and first data, a bag of cells; null where the network names the code by its hash only
    state_init      BLOB             CHECK (length(state_init) BETWEEN 1 AND 65536)
) STRICT, WITHOUT ROWID;

-- The wallet that sends. No program before this version sent anything.
ALTER TABLE transfer ADD COLUMN payer BLOB NOT NULL
    DEFAULT x'000000000000000000000000000000000000000000000000000000000000000000' CHECK (length(payer) = 33);
