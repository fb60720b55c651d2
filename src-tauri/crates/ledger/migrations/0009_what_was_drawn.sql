-- What the graphics card that the worker ran on drew while a network was served, by quarters of an hour since 1970, as the card's driver
-- measured it. `measured_ms` is for how long; a quarter without a row was not measured at all, which is not the same as nothing.
CREATE TABLE energy (
    root_contract BLOB    NOT NULL CHECK (length(root_contract) = 33),
    at            INTEGER NOT NULL,
    millijoules   INTEGER NOT NULL CHECK (millijoules >= 0),
    measured_ms   INTEGER NOT NULL CHECK (measured_ms > 0),
    PRIMARY KEY (root_contract, at)
) STRICT, WITHOUT ROWID;
