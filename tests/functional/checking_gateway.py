"""A small gateway that checks tokens and limits rates as its configuration says; with a defect, if one is named.

It stands in for ours where an experiment has to see what a gateway of another kind would show.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import jwt
import yaml
from aiohttp import web

from harness.forkserver import Spawn
from harness.gateways.builtin import Builtin

DEFECTS = ("", "waits_for_auth", "trusts_once", "unlimited", "unchecked")
_KEPT = ("authorization", "x-internal-api-key", "content-type")


class Checking(Builtin):
    """The product, as the registry of gateways knows it."""

    def __init__(self, defect=""):
        self.defect = defect

    def start(self, config, folder, server, cores, log):
        path = folder / "gateway.yaml"
        path.write_text(config, encoding="utf-8")
        return server.spawn(Spawn("tests.functional.checking_gateway:serve", (str(path), self.defect), str(log), cores))


def serve(path, defect):
    asyncio.run(_Gateway(Path(path), defect).run())


class _Gateway:
    def __init__(self, path, defect):
        self.path, self.defect = path, defect
        self.used, self.trusted = {}, set()
        self.load()

    def load(self):
        self.config = yaml.safe_load(self.path.read_text(encoding="utf-8"))

    async def run(self):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.load)
        listen = self.config["listen"]
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as self.session:
            while self.defect == "waits_for_auth" and await self.judge("auth", "/health", {}) != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await web.TCPSite(runner, listen["host"], listen["port"]).start()
            await asyncio.Event().wait()

    async def answer(self, request):
        route = self.route(request)
        if route is None:
            return web.Response(status=404)
        if refused := self.over_limit(route) or await self.check(route, request):
            return web.Response(status=refused)
        headers = {name: value for name, value in request.headers.items() if name.lower() in _KEPT}
        try:
            url = self.target(route["upstream"]) + request.path_qs
            async with self.session.request(request.method, url, headers=headers, data=await request.read()) as answer:
                return web.Response(status=answer.status, body=await answer.read())
        except aiohttp.ClientError:
            return web.Response(status=502)

    def route(self, request):
        path = request.path
        found = [
            route
            for route in self.config["routes"]
            if (path + "/").startswith(route["prefix"] + "/")
            and request.method in route.get("methods", [request.method])
        ]
        return max(found, key=lambda route: (len(route["prefix"]), "methods" in route), default=None)

    def target(self, upstream):
        return "http://" + self.config["upstreams"][upstream]["targets"][0]

    def over_limit(self, route):
        limit, key = route.get("rate_limit"), (route["prefix"], *route.get("methods", []))
        if limit is None or self.defect == "unlimited":
            return 0
        self.used[key] = self.used.get(key, 0) + 1
        return 429 if self.used[key] > limit["burst"] else 0

    async def check(self, route, request):
        auth, field = route.get("auth"), request.headers.get("Authorization", "")
        if auth is None or self.defect == "unchecked" or (self.defect == "trusts_once" and field in self.trusted):
            return 0
        if "jwt" in auth:
            try:
                jwt.decode(field.removeprefix("Bearer "), auth["jwt"]["secret"], algorithms=["HS256"])
            except jwt.InvalidTokenError:
                return 401
            return 0
        status = await self.judge(auth["ask"]["upstream"], auth["ask"]["path"], {"Authorization": field})
        if 200 <= status < 300:
            self.trusted.add(field)
            return 0
        return status if status in (401, 403) else 503

    async def judge(self, upstream, path, headers):
        try:
            async with self.session.get(self.target(upstream) + path, headers=headers) as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0
