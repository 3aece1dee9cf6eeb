"""Business logic and SQL statements. No HTTP and no network access."""
