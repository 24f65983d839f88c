-- Format 2: previews, what a generation was made from, and the uploads of local references.
ALTER TABLE generations ADD COLUMN preview TEXT;
ALTER TABLE generations ADD COLUMN made_from TEXT NOT NULL DEFAULT '[]';
CREATE TABLE uploads (
    gateway TEXT NOT NULL, sha256 TEXT NOT NULL, url TEXT NOT NULL, good_until REAL NOT NULL,
    PRIMARY KEY (gateway, sha256)
);
