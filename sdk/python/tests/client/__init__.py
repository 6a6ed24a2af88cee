"""Tests of the client half, against real brokers."""
