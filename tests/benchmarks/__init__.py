"""The benchmark: ``make bench``. ``specs/003-speed`` describes what it measures and how."""
