"""May this call spend? Its estimate, the decision, and the tier that serves it."""
