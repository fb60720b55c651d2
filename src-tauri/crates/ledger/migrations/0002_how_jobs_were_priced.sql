-- What a token of each sort counted in a session, ten-thousandths, and whether its network pays nothing (practice, tests).
-- Null in sessions of older programs, which did not write it down.
ALTER TABLE session ADD COLUMN prompt_multiplier     INTEGER CHECK (prompt_multiplier BETWEEN 0 AND 4294967295);
ALTER TABLE session ADD COLUMN cached_multiplier     INTEGER CHECK (cached_multiplier BETWEEN 0 AND 4294967295);
ALTER TABLE session ADD COLUMN completion_multiplier INTEGER CHECK (completion_multiplier BETWEEN 0 AND 4294967295);
ALTER TABLE session ADD COLUMN reasoning_multiplier  INTEGER CHECK (reasoning_multiplier BETWEEN 0 AND 4294967295);
ALTER TABLE session ADD COLUMN pays_nothing          INTEGER CHECK (pays_nothing IN (0, 1));

-- For sums over a day, and for which jobs a running total covers.
CREATE INDEX job_by_end ON job (finished_unix_ms);
CREATE INDEX job_by_proxy ON job (proxy_key, seq, adjusted_total);
