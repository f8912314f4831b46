"""What reaches the router: Envoy over ADS and its attempt log, quota's plan stream, and administrators."""
