"""The router: ``decide`` chooses how an order is filled."""
