"""The locustfile of the speed comparison: GET / as fast as Locust can, each user on a connection of its own."""

from locust import FastHttpUser, task


class Visitor(FastHttpUser):
    @task
    def visit(self):
        self.client.get("/")
