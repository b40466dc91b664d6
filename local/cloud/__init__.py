"""The deployment's AWS on this machine: its template, and the simulated services with what the template describes."""
