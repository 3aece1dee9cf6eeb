"""Pure functions without I/O. They import nothing from the rest of the package."""
