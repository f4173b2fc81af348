"""AWS Lambda function that appends videos to timelines as they arrive in a bucket.

- `handler`: entry point of the function, configured by environment variables.
- `process_event`: the same for a handler of your own.
- `LambdaSettings`: names of the chunks, the wait for missing ones, and how frames are extracted.
- `EventReport`, `TimelineReport`, `EventFailure`: results of one invocation.

See ``docs/how-to/aws-lambda.md``. Needs the extra ``extract``.
"""

from framecache.aws_lambda.processing import handler, process_event
from framecache.aws_lambda.reports import EventFailure, EventReport, TimelineReport
from framecache.aws_lambda.settings import LambdaSettings

__all__ = [
    "EventFailure",
    "EventReport",
    "LambdaSettings",
    "TimelineReport",
    "handler",
    "process_event",
]
