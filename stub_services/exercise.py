"""exercise: graded submissions, and the sweep that brings progress up to date."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from starlette.routing import Route

from stub_services.client import PROGRESS_UPDATE, SEND, STATISTICS_UPDATE
from stub_services.learners import QUESTIONS, learner_id
from stub_services.policies import Result
from stub_services.pool import Reply
from stub_services.service import Context
from stub_services.targets import PROGRESS, SEND_NOTIFICATION, peer_refusal, statistics_of
from stub_services.web import Endpoint, Refusal, Request, text


def routes(context: Context) -> list[Route]:
    """Return the service's own routes."""
    submit = Endpoint(Exercise(context).submit)
    return [Route("/api/v1/exercises/{exercise_id}/submit", submit, methods=["POST"])]


class Exercise:
    """The handlers of exercise."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._client = context.client
        self._secret = context.settings.jwt_secret
        self._work = context.work

    async def submit(self, request: Request) -> tuple[int, bytes]:
        """Grade and note a submission, have user count it in statistics and progress, and send the result.

        A repeat is recognised by its submission_id and counts nothing. When user cannot count it, the answer is 502
        or 503 and the row stays. A result that cannot be sent is only logged.
        """
        user_id = request.learner(self._secret)
        exercise_id = request.path["exercise_id"]
        fields = request.fields()
        submission_id, answers = text(fields, "submission_id"), _answers(fields)
        if self._work is not None:
            await self._work.do("submit")
        skill, key_letters = self._exercise(exercise_id)
        score = sum(map(str.__eq__, answers, key_letters))
        answer = json.dumps({"success": True, "submission_id": submission_id, "score": score, "of": QUESTIONS}).encode()
        if not self._note(submission_id, user_id, exercise_id, score):
            return 200, answer
        await self._count(user_id, skill, submission_id, score)
        await self._client.call(
            SEND, SEND_NOTIFICATION, _result(user_id, exercise_id, skill, score), f"result:{submission_id}"
        )
        return 200, answer

    async def sync_progress(self, index: int) -> Result:
        """Have user count one learner's pending progress, and mark it once user acknowledged it."""
        user_id = learner_id(index)
        pending = self._store.execute(
            "SELECT lesson_id FROM pending_progress WHERE user_id = ? AND NOT synced", (user_id,)
        ).fetchone()
        if pending is None:
            return Result("ok", 0, Reply())
        body = _progress(user_id, "sync", pending[0], 0)
        counted = await self._client.call(PROGRESS_UPDATE, PROGRESS, body, f"sync:{user_id}:{pending[0]}")
        if counted.outcome == "ok":
            self._store.execute("UPDATE pending_progress SET synced = 1 WHERE user_id = ?", (user_id,))
        return counted

    async def _count(self, user_id: str, skill: str, submission_id: str, score: int) -> None:
        body = json.dumps(
            {"user_id": user_id, "submission_id": submission_id, "score": score, "of": QUESTIONS}
        ).encode()
        counted = await self._client.call(STATISTICS_UPDATE, statistics_of(skill), body, f"statistics:{submission_id}")
        if counted.outcome == "ok":
            body = _progress(user_id, "exercise", submission_id, score)
            counted = await self._client.call(PROGRESS_UPDATE, PROGRESS, body, f"progress:{submission_id}")
        if counted.outcome != "ok":
            raise peer_refusal("user", counted)

    def _exercise(self, exercise_id: str) -> tuple[str, str]:
        row = self._store.execute(
            "SELECT skill, answers FROM exercises WHERE exercise_id = ?", (exercise_id,)
        ).fetchone()
        if row is None:
            raise Refusal(404, f"no exercise {exercise_id!r}")
        return row[0], row[1]

    def _note(self, submission_id: str, user_id: str, exercise_id: str, score: int) -> bool:
        """Note the submission; False when it was there. Raises Refusal 409 when it is somebody else's."""
        row = (submission_id, user_id, exercise_id, score)
        try:
            self._store.execute("INSERT INTO submissions VALUES (?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            known = "SELECT user_id FROM submissions WHERE submission_id = ?"
            if self._store.execute(known, (submission_id,)).fetchone()[0] != user_id:
                raise Refusal(409, "the submission_id is taken") from None
            return False
        return True


def _answers(fields: dict[str, Any]) -> list[str]:
    """Return the letters given, in order of the questions. Raises Refusal 422."""
    answers = fields.get("answers")
    if not isinstance(answers, list) or len(answers) != QUESTIONS:
        raise Refusal(422, f"answers must be a list of {QUESTIONS}")
    try:
        letters = [answer["answer"] for answer in answers]
    except (TypeError, LookupError):
        raise Refusal(422, "each of the answers needs an answer") from None
    if not all(isinstance(letter, str) for letter in letters):
        raise Refusal(422, "each answer must be a text")
    return letters


def _progress(user_id: str, source: str, reference: str, score: int) -> bytes:
    return json.dumps(
        {
            "user_id": user_id,
            "source": source,
            "reference": reference,
            "lessons_completed": 1,
            "minutes_spent": 30,
            "score": score,
            "status": "completed",
        }
    ).encode()


def _result(user_id: str, exercise_id: str, skill: str, score: int) -> bytes:
    return json.dumps(
        {
            "user_id": user_id,
            "kind": "exercise_result",
            "title": f"Your {skill} result is here",
            "message": f"You answered {score} of {QUESTIONS} questions of {exercise_id} correctly. The statistics of "
            "your profile show how you are doing in each of the four skills. Read the explanations of the questions "
            "that went wrong before you take the next exercise: that is where most learners gain their points.",
        }
    ).encode()
