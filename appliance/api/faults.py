"""What a request is refused with: MediaConnect's error types, by the status that its clients act on."""

from __future__ import annotations


class Fault(Exception):
    """`kind` goes into `x-amzn-ErrorType`. What cannot succeed is no 500 or 503: clients would try again."""

    status = 400
    kind = "BadRequestException"


class BadRequest(Fault):
    """The message begins with the member and says what is allowed."""


class Forbidden(Fault):
    status, kind = 403, "ForbiddenException"


class NotFound(Fault):
    status, kind = 404, "NotFoundException"


class TooManyRequests(Fault):
    status, kind = 429, "TooManyRequestsException"


class NotImplementedHere(Fault):
    status, kind = 501, "NotImplementedException"


class Unavailable(Fault):
    """For a moment: the store is busy, the disk is full. Clients try again."""

    status, kind = 503, "ServiceUnavailableException"


class OverQuota(Fault):
    """Of flows, outputs or entitlements: each has an error type of its own."""

    status = 420

    def __init__(self, operation: str, message: str) -> None:
        super().__init__(message)
        self.kind = f"{operation}420Exception"
