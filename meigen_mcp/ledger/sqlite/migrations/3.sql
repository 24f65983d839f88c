-- Format 3: what is due by what there is to do, and the newest balance, found without a search.
CREATE INDEX IF NOT EXISTS by_turn ON generations (owner, status, next_look)
    WHERE next_look IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_balance ON generations (account, id) WHERE balance IS NOT NULL;
