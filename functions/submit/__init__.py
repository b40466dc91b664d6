"""The HTTP API and the authorizer."""
