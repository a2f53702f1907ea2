-- Schema 2. A fork may commit several tokens first: those that it keeps from a round, and the one that was forced.
ALTER TABLE run ADD COLUMN forced_tokens BLOB;
ALTER TABLE run ADD COLUMN kept_tokens INTEGER NOT NULL DEFAULT 0;
