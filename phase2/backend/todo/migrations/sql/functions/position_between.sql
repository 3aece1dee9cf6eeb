-- Returns a position between two others: the shortest one near the middle; without an upper (lower) one, the next
-- (previous) whole number. Raises TD005 if there is no room. A position is text of 15 digits or more: the digits of a
-- number behind the decimal point. Compared as text, which an index can do under row-level security, positions have the
-- order of the numbers, and between two of them there is always another one. A new row gets 500 000 000 000 000 plus
-- its revision, and is the last. A move behind the last row adds at most one and takes a revision, so no position is
-- ever ahead of the counter. Each further move into the same gap makes the position about a third of a digit longer.
-- Task: T-333
CREATE OR REPLACE FUNCTION app.position_between(lower_position text, upper_position text) RETURNS text LANGUAGE plpgsql
    IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    min_digits CONSTANT integer := 15;
    max_digits CONSTANT integer := 1000;
    low CONSTANT numeric := ('0.' || lower_position)::numeric;
    high CONSTANT numeric := ('0.' || upper_position)::numeric;
    middle numeric;
BEGIN
    IF upper_position IS NULL THEN
        RETURN lpad((left(lower_position, min_digits)::bigint + 1)::text, min_digits, '0');
    ELSIF lower_position IS NULL THEN
        RETURN lpad((left(upper_position, min_digits)::bigint - 1)::text, min_digits, '0');
    END IF;
    FOR digits IN min_digits..max_digits LOOP
        middle := round((low + high) * 0.5, digits);
        IF low < middle AND middle < high THEN
            RETURN substr(middle::text, 3);
        END IF;
    END LOOP;
    RAISE EXCEPTION 'there is no room between two positions' USING ERRCODE = 'TD005';
END
$$;
