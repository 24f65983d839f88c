-- Format 9: an account's name may end with a person; what each spent, found without a search.
CREATE INDEX IF NOT EXISTS by_person ON generations
    (substr(account, instr(account, '#') + 1), created_at, millicredits)
    WHERE instr(account, '#') > 0;
