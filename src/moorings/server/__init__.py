"""The composition root: the only place that constructs concrete parts and puts them together."""
