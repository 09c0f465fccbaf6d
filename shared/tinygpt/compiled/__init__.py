"""Compiled code: functions that numba compiles for this machine's processor, and the numbers that they work on."""
