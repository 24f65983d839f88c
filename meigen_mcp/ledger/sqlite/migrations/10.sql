-- Format 10: the people who sign in, and what each may spend.
CREATE TABLE people (
    id TEXT PRIMARY KEY, issuer TEXT NOT NULL, subject TEXT NOT NULL, name TEXT NOT NULL,
    seen_at REAL NOT NULL
);
CREATE TABLE caps (who TEXT PRIMARY KEY, day TEXT, month TEXT);
