"""Graders as other tools want them, a module for each tool; none of the tools is imported before it is needed."""
