-- Format 3: an account's name may end with a person; what each spent, and who is asked about it.
CREATE INDEX by_person ON meigen.generations (split_part(account, '#', 2), created_at)
    INCLUDE (millicredits) WHERE strpos(account, '#') > 0;

CREATE FUNCTION meigen.spent_by(_person text, _since double precision) RETURNS numeric
LANGUAGE plpgsql STABLE AS $$
-- Of a person; of everybody where nobody is named, who is then the only one.
BEGIN
    IF _person = '' THEN
        RETURN meigen.spent(_since);
    END IF;
    RETURN (SELECT coalesce(sum(millicredits), 0) FROM meigen.generations
            WHERE strpos(account, '#') > 0 AND split_part(account, '#', 2) = _person
                AND created_at > _since);
END $$;

CREATE OR REPLACE FUNCTION meigen.add_intent(
    _job jsonb,                      -- its columns
    _cap numeric,                    -- the most credits in 24 hours
    _ask_above numeric,              -- the most that need no yes, with what was spent since _counted_from
    _price numeric,
    _counted_from double precision,
    _approved boolean,               -- the person said yes to it
    _by_offer boolean,               -- to its offer, which must stand
    _offered_after double precision, -- one that was made before has ended
    OUT outcome text,                -- known, ask, ended, over, added
    OUT spent numeric,               -- millicredits, where it was ask or over
    OUT version bigint
) LANGUAGE plpgsql AS $$
-- One round trip. Each statement sees what was committed before it began: so the sums are formed
-- after the lock is held, which a single statement would not do.
DECLARE
    _row meigen.generations := jsonb_populate_record(NULL::meigen.generations, _job);
BEGIN
    IF EXISTS (SELECT FROM meigen.generations g
               WHERE g.account = _row.account AND g.request_id = _row.request_id) THEN
        outcome := 'known';
        RETURN;
    END IF;
    PERFORM FROM meigen.teams WHERE id = '' FOR UPDATE;
    IF EXISTS (SELECT FROM meigen.generations g
               WHERE g.account = _row.account AND g.request_id = _row.request_id) THEN
        outcome := 'known';
        RETURN;
    END IF;
    IF _ask_above IS NOT NULL THEN
        spent := meigen.spent_by(split_part(_row.account, '#', 2), _counted_from);
        IF spent / 1000 + _price > _ask_above THEN
            outcome := 'ask';
            RETURN;
        END IF;
    END IF;
    PERFORM FROM meigen.offers o
    WHERE o.account = _row.account AND o.request_id = _row.request_id
        AND o.made_at > _offered_after AND o.made_at <= _row.created_at FOR UPDATE;
    IF _by_offer AND NOT FOUND THEN
        outcome := 'ended';
        RETURN;
    END IF;
    IF _cap IS NOT NULL THEN
        spent := meigen.spent(_row.created_at - 86400);
        IF spent / 1000 + coalesce(_row.reserved, '0')::numeric > _cap THEN
            outcome := 'over';
            RETURN;
        END IF;
    END IF;
    DELETE FROM meigen.offers o
    WHERE o.account = _row.account AND o.request_id = _row.request_id
        AND o.made_at > _offered_after AND o.made_at <= _row.created_at;
    IF _approved THEN
        INSERT INTO meigen.notes VALUES ('approved:' || _row.account, _row.created_at::text)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value;
    END IF;
    version := meigen.tick();
    _row.id := nextval('meigen.generations_id_seq');
    _row.version := version;
    INSERT INTO meigen.generations SELECT _row.*;
    outcome := 'added';
END $$;
