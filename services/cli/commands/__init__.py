"""One file per group of commands. Each adds its commands to the application in `services.cli.main`."""
