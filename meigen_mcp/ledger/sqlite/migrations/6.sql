-- Format 6: what has not ended, found without a search; two records with one id of MeiGen's.
CREATE INDEX IF NOT EXISTS by_open ON generations (account, id)
    WHERE status IN ('submitting', 'processing', 'unknown');
ALTER TABLE generations ADD COLUMN twin INTEGER NOT NULL DEFAULT 0;
