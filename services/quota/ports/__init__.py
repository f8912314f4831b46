"""What the use cases need from outside. Each port is small; fakes pass the same contract suite as real adapters."""
