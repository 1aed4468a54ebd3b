"""Load engines. A new one is one new file and one line in ENGINES: where the function that carries out a Job stands.

An engine is named, not imported: it runs in a process of its own, forked by the fork server.
"""

ENGINES: dict[str, str] = {
    "native": "harness.engines.native:run_job",
}
