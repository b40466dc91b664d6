"""What crosses the edges: HTTP bodies, queue messages, WebSocket frames."""
