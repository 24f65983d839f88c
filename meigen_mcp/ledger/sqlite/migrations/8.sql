-- Format 8: what the final of a draft costs, until when, and how it is asked for.
ALTER TABLE generations ADD COLUMN draft TEXT;
