"""The configurable gateway, a program of its own: `python -m gateway_proxy --config FILE`.

`gateway_proxy.http1` is the HTTP/1.1 wire, which the services' client and the load engine share.
"""
