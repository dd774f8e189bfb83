"""Domains and their data: label spaces, the catalogue of data sets, the reader, embedded streets, transforms."""
