"""Statistics on arrays and features that evaluations and judges share, and that are no `Metric` by themselves."""
