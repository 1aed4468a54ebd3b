"""Plans trials, starts and stops processes, drives load, injects faults and writes the record. It never judges."""
