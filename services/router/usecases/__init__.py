"""The router's use cases: administer its configuration, publish it in a safe order, count attempts."""
