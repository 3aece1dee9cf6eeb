"""Routes of the HTTP API: a route parses the request, calls one service function, and returns its result."""
