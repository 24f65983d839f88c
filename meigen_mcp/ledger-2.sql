-- Format 2: previews, what a generation was made from, the uploads of local references, and two indices.
ALTER TABLE generations ADD COLUMN preview TEXT;
ALTER TABLE generations ADD COLUMN made_from TEXT NOT NULL DEFAULT '[]';
CREATE TABLE uploads (
    gateway TEXT NOT NULL, sha256 TEXT NOT NULL, url TEXT NOT NULL, good_until REAL NOT NULL,
    PRIMARY KEY (gateway, sha256)
);
CREATE INDEX by_turn ON generations (owner, status, next_look) WHERE next_look IS NOT NULL;
CREATE INDEX by_balance ON generations (account, id) WHERE balance IS NOT NULL;
