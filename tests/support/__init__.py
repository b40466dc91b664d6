"""What tests of every kind stand on: a clock, orders, events, a recorder, and the deployment in simulated services."""
