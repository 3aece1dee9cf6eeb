"""HTTP in, HTTP out: a route parses, calls one service function, and returns its result."""
