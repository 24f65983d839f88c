"""The HTTP face of the sandbox: routes, headers and the shapes of bodies.

Error bodies have the fields of both generations of official clients, and a status carries its id as
`jobId` (2026-05) and as `generationId` (2026-09).
"""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from meigen_mcp import sandbox
from meigen_mcp.sandbox import media
from meigen_mcp.sandbox.drafts import said_of
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.models import INVENTED, JSON, body
from meigen_mcp.sandbox.state import Account, Job, Post, SandboxError, Submission
from meigen_mcp.sandbox.uploads import UPLOAD_BYTES

HANG_UP = "meigen_mcp.sandbox.hang_up"
_NO_STORE = {"Cache-Control": "no-store"}
_KEPT_RENDERS = 16


def create_app(emulator: Emulator) -> Starlette:
    """Return the ASGI application of one sandbox."""
    api = _Api(emulator)
    return Starlette(
        routes=[
            Route("/", _about),
            Route("/api/generate/v2", api.generate, methods=["POST"]),
            Route("/api/generate/v2/status/{id}", api.status),
            Route("/api/generate/v2/requests/{key}", api.request_of_key),
            Route("/api/models", api.models),
            Route("/media/{name}", api.media),
            Route("/upload/presign", api.presign, methods=["POST"]),
            Route("/api/upload/reference-video", api.presign_clip, methods=["POST"]),
            Route("/upload/{id}", api.upload, methods=["PUT"]),
            Route("/sandbox/state", api.state),
        ],
        exception_handlers={
            SandboxError: _refused,
            ClientDisconnect: _gone,
            404: _not_found,
        },
    )


class _Api:
    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.render = lru_cache(maxsize=_KEPT_RENDERS)(_render)

    async def generate(self, request: Request) -> Response:
        """POST /api/generate/v2; the order of the checks is a choice: 401, 429, 400, 402."""
        emulator, now = self.emulator, self.emulator.clock()
        account: Account | None = None
        sent: Any = None
        made: Submission | None = None
        try:
            account = emulator.authorize(request.headers.get("authorization"))
            emulator.admit(account)
            sent = await _json(request)
            made = emulator.submit(account, sent, _origin(request))
            response: Response = self._accepted(made, account, _origin(request))
        except SandboxError as error:
            response = _refused(request, error)
        response.headers["X-RateLimit-Limit"] = str(emulator.options.rate_limit)
        response.headers["X-RateLimit-Remaining"] = str(emulator.remaining(account))
        lost = made is not None and made.lost
        key = sent.get("idempotencyKey") if isinstance(sent, dict) else None
        emulator.posts.append(
            Post(
                at=now,
                account=account.id if account else None,
                status=response.status_code,
                key=key.lower() if isinstance(key, str) else None,
                job=made.job.id if made else None,
                accepted=made is not None and not made.deduped,
                lost=lost,
            )
        )
        return _NoReply() if lost else response

    async def status(self, request: Request) -> Response:
        """GET /api/generate/v2/status/{id}; the token is optional, but it must be the owner's."""
        authorization = request.headers.get("authorization")
        account = self.emulator.authorize(authorization) if authorization else None
        job = self.emulator.find_job(request.path_params["id"], account)
        return JSONResponse(self._status(job, _origin(request)), headers=_NO_STORE)

    async def request_of_key(self, request: Request) -> Response:
        """GET /api/generate/v2/requests/{key}."""
        if self.emulator.options.era == "2026-05":
            return _not_found(request, HTTPException(404))
        account = self.emulator.authorize(request.headers.get("authorization"))
        job = self.emulator.find_request(account, request.path_params["key"])
        return JSONResponse(self._status(job, _origin(request)), headers=_NO_STORE)

    async def models(self, request: Request) -> Response:
        """GET /api/models."""
        options = self.emulator.options
        inactive = request.query_params.get("active") == "false"
        listed = body(options.era, options.speed, self.emulator.today, inactive=inactive)
        return JSONResponse(listed, headers={"Cache-Control": "public, max-age=300"})

    async def media(self, request: Request) -> Response:
        """GET and HEAD /media/{name}: a result, once it is there, or an uploaded reference."""
        name = request.path_params["name"]
        for upload in self.emulator.uploads.values():
            if upload.name == name and upload.data is not None:
                return Response(upload.data, media_type=upload.content_type)
        job, index = self.emulator.media.get(name, (None, 0))
        if job is None or job.status(self.emulator.clock()) != "completed":
            raise HTTPException(404)
        film = job.model.media_type == "video"
        part = self.emulator.part(job) if film else 0
        data = await to_thread.run_sync(self.render, job, index, part)
        kind = "video/mp4" if film else "image/png"
        return Response(data, media_type=kind)

    async def presign(self, request: Request) -> Response:
        """POST /upload/presign; no token (official client, 2026-05)."""
        asked = await _json(request)
        if not isinstance(asked, dict) or not isinstance(asked.get("filename"), str):
            raise SandboxError(400, "filename is required", "invalid_request")
        upload_id = self.emulator.presign(asked.get("contentType"), asked.get("size"))
        return self._promised(upload_id, request)

    async def presign_clip(self, request: Request) -> Response:
        """POST /api/upload/reference-video, with the token (official client, 2026-09)."""
        if self.emulator.options.era == "2026-05":
            return _not_found(request, HTTPException(404))
        account = self.emulator.authorize(request.headers.get("authorization"))
        asked = await _json(request)
        if not isinstance(asked, dict) or not isinstance(asked.get("filename"), str):
            raise SandboxError(400, "filename is required", "invalid_request")
        return self._promised(self.emulator.presign_clip(account, asked), request)

    def _promised(self, upload_id: str, request: Request) -> Response:
        origin = _origin(request)
        return JSONResponse(
            {
                "success": True,
                "presignedUrl": f"{origin}/upload/{upload_id}",
                "publicUrl": f"{origin}/media/{self.emulator.uploads[upload_id].name}",
            }
        )

    async def upload(self, request: Request) -> Response:
        """PUT of a presigned URL, which holds for the type and size that were announced."""
        upload = self.emulator.uploads.get(request.path_params["id"])
        if upload is None:
            raise HTTPException(404)
        data = await _read_body(request, max(UPLOAD_BYTES, upload.size))
        if request.headers.get("content-type") != upload.content_type or len(data) != upload.size:
            raise SandboxError(403, "The signature is for another Content-Type or size")
        self.emulator.keep_upload(upload, data)
        return Response()

    async def state(self, _: Request) -> Response:
        """GET /sandbox/state: what happened so far, for tests and people."""
        emulator, now = self.emulator, self.emulator.clock()
        accounts = [
            {
                "account": account.id,
                "purchased": account.balance(now),
                "accepted": len(account.jobs),
                "charged": account.charged(),
                "refunded": account.refunded(now),
            }
            for account in emulator.accounts.values()
        ]
        posts = [
            {
                "at": post.at,
                "account": post.account,
                "status": post.status,
                "idempotencyKey": post.key,
                "generationId": post.job,
                "accepted": post.accepted,
                "lost": post.lost,
            }
            for post in emulator.posts
        ]
        return JSONResponse({"now": now, "accounts": accounts, "posts": posts}, headers=_NO_STORE)

    def _accepted(self, made: Submission, account: Account, origin: str) -> Response:
        job, now = made.job, self.emulator.clock()
        reply: JSON = {
            "success": True,
            "generationId": job.id,
            "status": "processing",
            "creditsUsed": job.credits,
            "modelId": job.model.id,
            "credits": {
                "daily": INVENTED["account"]["daily_credits"],
                "purchased": account.balance(now),
                "unlimited": False,
            },
        }
        if self.emulator.options.era != "2026-05":
            reply |= {"deduped": made.deduped, "mediaType": job.model.media_type}
            reply |= self._additions(job)
            if job.status(now) != "processing":
                # Documented for a repeated key: the answer is that of the finished job.
                reply |= self._status(job, origin)
        return JSONResponse(reply, headers=_NO_STORE)

    def _status(self, job: Job, origin: str) -> JSON:
        status = job.status(self.emulator.clock())
        video = job.model.media_type == "video"
        urls = [f"{origin}/media/{name}" for name in job.names] if status == "completed" else []
        medium = "video" if video else "image"
        said: JSON = {
            "jobId": job.id,
            "generationId": job.id,
            "status": status,
            "imageUrl": urls[0] if urls and not video else None,
            "imageUrls": urls if urls and not video else None,
            "videoUrl": urls[0] if urls and video else None,
            "mediaType": medium,
            "error": f"The provider could not make this {medium}" if status == "failed" else None,
            # A choice: a ratio that was left open is known when the result is there.
            "aspectRatio": job.arguments["aspectRatio"] if urls else job.asked_ratio,
        }
        if self.emulator.options.era != "2026-05":
            said |= {"success": True, "modelId": job.model.id, "creditsUsed": job.credits}
            said |= self._additions(job)
            if (final := said_of(job, self.emulator.clock(), self.emulator.today)) is not None:
                said["seedanceDraft"] = final
            if job.key:
                said["requestId"] = job.key
            if status == "failed":
                said["failureCode"] = INVENTED["failure"]["code"]
                if job.failure_detail is not None:
                    said["failureCode"] = "invalid_request"  # documented beside a detail
                    said["failureDetail"] = job.failure_detail
        return said

    def _additions(self, job: Job) -> JSON:
        """Return the fields of 2026-09 that a submission and a status share."""
        now = self.emulator.clock()
        status = job.status(now)
        watching = status == "processing"
        return {
            "creditsStatus": "refunded" if status == "failed" else "charged",
            "pollHintSeconds": round(job.hint_until - now, 3) if watching else None,
            "expectedWaitSeconds": self.emulator.expected_seconds(job),
        }


class _NoReply(Response):
    """Closes the connection without an answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # the shape of an ASGI application
        hang_up: Callable[[], None] | None = scope.get("extensions", {}).get(HANG_UP)
        if hang_up is None:
            raise ConnectionResetError("the sandbox lost this reply on purpose")
        hang_up()
        while (await receive())["type"] != "http.disconnect":
            pass


def _render(job: Job, index: int, part: int) -> bytes:
    arguments, count = job.arguments, len(job.names)
    if job.model.media_type == "video":
        return media.render_clip(
            ratio=arguments["aspectRatio"], seconds=float(arguments["duration"]), part=part
        )
    return media.render_image(
        model=job.model.name,
        prompt=arguments["prompt"],
        ratio=arguments["aspectRatio"],
        resolution=arguments["resolution"],
        seed=job.names[index],
        label=f"candidate {index + 1} of {count}" if count > 1 else "",
    )


def _origin(request: Request) -> str:
    return str(request.base_url).rstrip("/")


async def _read_body(request: Request, most: int = UPLOAD_BYTES) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise SandboxError(413, f"The body is larger than {most} bytes")
    return bytes(data)


async def _json(request: Request) -> Any:
    try:
        return json.loads(await _read_body(request))
    except (ValueError, RecursionError):
        raise SandboxError(400, "The body is not JSON", "invalid_request") from None


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, SandboxError)  # noqa: S101  # the router gives no other
    said: JSON = {
        "success": False,
        # A message quotes the request, which may hold half a surrogate pair.
        "error": error.error.encode("utf-8", "replace").decode(),
        "retryable": error.retryable,
        **error.extra,
    }
    if error.code:
        said["code"] = error.code
    headers = dict(_NO_STORE)
    if "retryAfterSeconds" in error.extra:
        headers["Retry-After"] = str(error.extra["retryAfterSeconds"])
    return JSONResponse(said, error.status, headers=headers)


def _not_found(_: Request, __: Exception) -> Response:
    """Answer as a web site does, which is what a route that the API does not have leads to."""
    return HTMLResponse(
        "<!DOCTYPE html><html><head><title>404: This page could not be found.</title></head>"
        "<body><h1>404</h1><p>This page could not be found.</p></body></html>\n",
        404,
    )


def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)


def _about(_: Request) -> Response:
    return PlainTextResponse(sandbox.__doc__ or "The MeiGen sandbox")
