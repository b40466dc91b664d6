"""The stream of statuses: from the orders table's stream to the clients' sockets."""
