"""Surfaces and the drawing operations on them (spec/canvas.md), and what is shown of them. Knows no channels."""
