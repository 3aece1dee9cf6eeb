"""All objects of a database that are not PostgreSQL's own, as its catalogue describes them."""

from typing import Any

import psycopg

CATALOGUE = """
SELECT 'column', format('%s.%s %s %s %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
                        a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace IN (SELECT oid FROM ours) AND c.relkind <> 'i' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'statistics', format('%s.%s %s %s', c.oid::regclass, a.attname, a.attstattarget, a.attoptions)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace IN (SELECT oid FROM ours) AND a.attoptions IS NOT NULL
UNION ALL
SELECT 'constraint', format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE connamespace IN (SELECT oid FROM ours)
UNION ALL
SELECT 'index', pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace IN (SELECT oid FROM ours)
UNION ALL
SELECT 'policy', format('%s %s %s %s %s %s', tablename, policyname, cmd, roles, qual, with_check) FROM pg_policies
UNION ALL
SELECT 'security', format('%s %s %s', relname, relrowsecurity, relforcerowsecurity)
FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours) AND relkind = 'r'
UNION ALL
SELECT 'table', format('%s %s %s', oid::regclass, reloptions, relacl)
FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours) AND relkind = 'r'
UNION ALL
SELECT 'trigger', pg_get_triggerdef(oid) || ' ' || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', format('%s %s', pg_get_functiondef(oid), proacl)
FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours) AND prokind IN ('f', 'p')
UNION ALL
SELECT 'schema', format('%s %s', nspname, nspacl)
FROM pg_namespace WHERE oid IN (SELECT oid FROM ours)
ORDER BY 1, 2
"""
_OURS = """
WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
"""


def catalogue(connection: psycopg.Connection[Any], *kinds: str) -> list[tuple[str, str]]:
    """Return the objects of these kinds (without any: of all kinds), but for Alembic's table."""
    rows: list[tuple[str, str]] = connection.execute((_OURS + CATALOGUE).encode()).fetchall()
    return [(kind, text) for kind, text in rows if "todo_alembic_version" not in text and (not kinds or kind in kinds)]
