"""The directory: everything that an administrator set, and the limits that follow from it for one call."""
