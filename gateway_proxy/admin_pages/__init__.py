"""The admin application's page: static files."""
