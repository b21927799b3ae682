"""Webhooks: how they are reached, and what they are asked for.

Whoever asks one says with which configuration, and is told in the original's words why there was no answer. What the
answer means is not known here.
"""
