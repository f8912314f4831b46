"""The ports: what the use cases need from outside. Fakes and adapters pass the same contract tests."""
