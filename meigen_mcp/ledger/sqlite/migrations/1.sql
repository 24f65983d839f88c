-- Format 1 of the ledger. Later formats only add; a file of a newer one is left alone.
CREATE TABLE generations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL, account TEXT NOT NULL, fingerprint TEXT NOT NULL,
    tool TEXT NOT NULL, media_type TEXT NOT NULL, model_id TEXT NOT NULL, prompt TEXT NOT NULL,
    arguments TEXT NOT NULL, body TEXT NOT NULL, quote TEXT NOT NULL,
    created_at REAL NOT NULL, expected_seconds REAL NOT NULL, reserved TEXT,
    status TEXT NOT NULL, next_look REAL, generation_id TEXT, posted_at REAL, accepted_at REAL,
    finished_at REAL, watched_until REAL NOT NULL, failures INTEGER NOT NULL,
    garbled INTEGER NOT NULL, unobserved INTEGER NOT NULL, parked INTEGER NOT NULL,
    answered INTEGER NOT NULL, abandoned INTEGER NOT NULL, adopted INTEGER NOT NULL,
    aspect_ratio TEXT, credits_used TEXT, credits_status TEXT, balance TEXT,
    media_urls TEXT NOT NULL, files TEXT NOT NULL, fetch_failures INTEGER NOT NULL, error TEXT,
    owner TEXT NOT NULL, version INTEGER NOT NULL, millicredits INTEGER NOT NULL,
    UNIQUE (account, request_id)
);
CREATE INDEX by_generation ON generations (account, generation_id);
CREATE INDEX by_account ON generations (account, id);
CREATE INDEX by_fingerprint ON generations (account, fingerprint)
    WHERE abandoned = 1 OR parked = 1;
CREATE INDEX by_due ON generations (owner, next_look) WHERE next_look IS NOT NULL;
CREATE INDEX by_version ON generations (version);
CREATE INDEX by_time ON generations (created_at, millicredits);
CREATE INDEX by_model ON generations (model_id, finished_at) WHERE status = 'completed';
CREATE TRIGGER ends_never_change BEFORE UPDATE OF status ON generations
    WHEN OLD.status IN ('completed', 'failed') AND NEW.status <> OLD.status
    BEGIN SELECT RAISE(ABORT, 'a finished generation never changes'); END;
CREATE TABLE posts (
    id INTEGER PRIMARY KEY, account TEXT NOT NULL, request_id TEXT NOT NULL, free_at REAL NOT NULL
);
CREATE TABLE offers (
    request_id TEXT NOT NULL, account TEXT NOT NULL, fingerprint TEXT NOT NULL,
    made_at REAL NOT NULL, PRIMARY KEY (account, request_id)
);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE clock (version INTEGER NOT NULL);
INSERT INTO clock VALUES (0);
