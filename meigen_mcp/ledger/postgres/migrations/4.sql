-- Format 4: the people who sign in, and what each may spend.
CREATE TABLE meigen.people (
    id text PRIMARY KEY, issuer text NOT NULL, subject text NOT NULL, name text NOT NULL,
    seen_at double precision NOT NULL
);
CREATE TABLE meigen.caps (who text PRIMARY KEY, day numeric, month numeric);
