"""Serving: all that knows uvicorn. Nothing else in the package imports it."""
