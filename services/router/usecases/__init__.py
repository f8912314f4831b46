"""What the router does: administer its configuration, publish it in a safe order, count attempts."""
