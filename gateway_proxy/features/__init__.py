"""What a route can do beyond forwarding: one file a feature, which turns its part of the configuration into steps."""
