"""Where a call may go: the route plan, compiled for each model and dialect."""
