"""The benchmark: ``make bench``. What it measures, and how, says ``specs/003-speed``."""
