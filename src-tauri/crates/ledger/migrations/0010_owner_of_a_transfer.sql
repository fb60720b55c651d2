-- Whom a payout pays, as its worker contract names him. Null: the owner sends, or the program before this version did not write it down.
ALTER TABLE transfer ADD COLUMN owner BLOB CHECK (length(owner) = 33);
