-- What a worker found out about a graphics card: which way its kernels are cut is fastest, for one driver and one model. The choice
-- itself is the engine's and means nothing here.
CREATE TABLE tuning (
    card          TEXT    NOT NULL CHECK (length(card) <= 256),
    driver        TEXT    NOT NULL CHECK (length(driver) <= 256),
    model         BLOB    NOT NULL CHECK (length(model) = 32),
    choice        BLOB    NOT NULL CHECK (length(choice) BETWEEN 1 AND 2048),
    found_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (card, driver, model)
) STRICT;
