"""Measure, explain and repair what a change of domain does to a semantic segmentation model."""
