"""Five working services of the built-in scenario, the client with which they call each other, and their stores.

The services know the addresses of their peers and never the communication mode. `server.serve` runs one of them;
`requests.RequestBook` knows how to speak to them from outside; `stores.read_effects` says what a trial left behind.
"""
