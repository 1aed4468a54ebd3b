"""course: the courses, completed lessons, and the sweep that reminds learners to study."""

from __future__ import annotations

import json
import sqlite3

from starlette.routing import Route

from stub_services.client import PROFILE_READ, PROGRESS_UPDATE, SEND
from stub_services.learners import learner_id
from stub_services.policies import Result
from stub_services.service import Context
from stub_services.targets import PROGRESS, SEND_NOTIFICATION, peer_refusal, profile_of
from stub_services.web import Endpoint, Refusal, Request


def routes(context: Context) -> list[Route]:
    """Return the service's own routes."""
    course = Course(context)
    return [
        Route("/api/v1/courses", Endpoint(course.browse), methods=["GET"]),
        Route("/api/v1/courses/lessons/{lesson_id}/complete", Endpoint(course.complete_lesson), methods=["POST"]),
    ]


class Course:
    """The handlers of course."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._client = context.client
        self._secret = context.settings.jwt_secret
        self._work = context.work

    async def browse(self, request: Request) -> tuple[int, bytes]:
        """List the courses with their lessons."""
        del request
        if self._work is not None:
            await self._work.do("courses")
        documents = self._store.execute("SELECT document FROM courses").fetchall()
        return 200, ('{"courses": [' + ", ".join([row[0] for row in documents]) + "]}").encode()

    async def complete_lesson(self, request: Request) -> tuple[int, bytes]:
        """Note the completion, have user count it, and congratulate.

        A repeat is recognised by its row and counts nothing. When user cannot count it, the answer is 502 or 503 and
        the row stays: a lost update. A congratulation that fails is only logged.
        """
        user_id = request.learner(self._secret)
        lesson_id = request.path["lesson_id"]
        if self._work is not None:
            await self._work.do("lesson")
        if not self._complete(user_id, lesson_id):
            return 200, b'{"success": true, "message": "The lesson was completed before"}'
        key = f"lesson:{user_id}:{lesson_id}"
        counted = await self._client.call(PROGRESS_UPDATE, PROGRESS, _progress(user_id, lesson_id), key)
        if counted.outcome != "ok":
            raise peer_refusal("user", counted)
        await self._client.call(SEND, SEND_NOTIFICATION, _congratulation(user_id, lesson_id), key)
        return 200, b'{"success": true, "message": "The lesson is completed"}'

    async def remind(self, index: int) -> Result:
        """Remind one learner to study: the profile says whether there is somebody to remind."""
        user_id = learner_id(index)
        read = await self._client.call(PROFILE_READ, profile_of(user_id), None, user_id)
        if read.outcome != "ok":
            return read
        try:
            name = str(json.loads(read.reply.body)["full_name"])
        except (ValueError, LookupError, TypeError):
            return read._replace(outcome="error")  # a success that shows no profile
        return await self._client.call(SEND, SEND_NOTIFICATION, _reminder(user_id, name), f"reminder:{user_id}")

    def _complete(self, user_id: str, lesson_id: str) -> bool:
        """Note the completion; False when it was there. Raises Refusal 404 for an unknown lesson."""
        try:
            noted = self._store.execute(
                "INSERT INTO completions SELECT ?, lesson_id FROM lessons WHERE lesson_id = ?", (user_id, lesson_id)
            )
        except sqlite3.IntegrityError:
            return False
        if not noted.rowcount:
            raise Refusal(404, f"no lesson {lesson_id!r}")
        return True


def _progress(user_id: str, lesson_id: str) -> bytes:
    return json.dumps(
        {
            "user_id": user_id,
            "source": "lesson",
            "reference": lesson_id,
            "course_id": lesson_id.rpartition("-lesson-")[0],
            "lessons_completed": 1,
            "minutes_spent": 25,
            "status": "completed",
        }
    ).encode()


def _congratulation(user_id: str, lesson_id: str) -> bytes:
    return json.dumps(
        {
            "user_id": user_id,
            "kind": "lesson_completed",
            "title": "Well done: another lesson completed",
            "message": f"You have completed {lesson_id}. Your progress has been counted, and the next lesson of the "
            "course is open. Learners who study a little every day reach their target band sooner: try to come back "
            "tomorrow at the same time.",
        }
    ).encode()


def _reminder(user_id: str, name: str) -> bytes:
    return json.dumps(
        {
            "user_id": user_id,
            "kind": "reminder",
            "title": "Time to study",
            "message": f"Hello {name}! Your next lesson is waiting for you. Twenty minutes today keep your plan on "
            "track, and the timed practice at the end shows how far you have come.",
        }
    ).encode()
