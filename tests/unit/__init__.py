"""Tests of single rooms: no process is started, no real time passes."""
