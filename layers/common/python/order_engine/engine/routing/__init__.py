"""The router: ``Router`` asks the venues and decides how an order is filled."""
