"""Admission: the estimate of a call, the decision whether it may spend, and the tier that serves it."""
