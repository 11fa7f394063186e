"""Rollout folders -> what people read: a page, a viewer of trajectories, Markdown, CSV and figures (docs/report.md)."""
