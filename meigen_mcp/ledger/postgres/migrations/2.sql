-- Format 2: what the final of a draft costs, until when, and how it is asked for.
ALTER TABLE meigen.generations ADD COLUMN draft text;
