"""The machinery between the socket and a route: it knows HTTP and no feature."""
