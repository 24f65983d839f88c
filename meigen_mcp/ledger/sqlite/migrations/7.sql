-- Format 7: an error has a detail, within its JSON; a version that does not know it must not read it.
SELECT 1;
