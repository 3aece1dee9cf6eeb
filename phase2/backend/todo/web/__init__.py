"""The HTTP layer between the socket and the routes. No code in it depends on a feature."""
