"""The task list: filters, sort orders, search and pages."""
