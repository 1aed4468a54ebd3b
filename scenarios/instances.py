"""The instances of the gateway. The first has the component's own name, so that a single one is as it always was."""

GATEWAY = "gateway"


def gateway_instances(count: int) -> tuple[str, ...]:
    """Return the components' names: gateway, gateway-2, gateway-3 ..."""
    return (GATEWAY, *(f"{GATEWAY}-{number}" for number in range(2, count + 1)))
