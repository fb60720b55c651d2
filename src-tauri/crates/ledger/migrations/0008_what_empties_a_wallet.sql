-- Whether a transfer takes along everything its wallet has; the amount is then what was in it when that was wanted.
ALTER TABLE transfer ADD COLUMN everything INTEGER NOT NULL DEFAULT 0 CHECK (everything IN (0, 1));
