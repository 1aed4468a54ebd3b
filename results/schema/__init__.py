"""The published JSON Schema of results.json."""
