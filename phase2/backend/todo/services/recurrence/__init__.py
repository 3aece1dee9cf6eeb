"""Recurring tasks: the user's local time, the schedule of a series, and its changes."""
