"""Texts that rules are measured on, and how they are made."""
