"""Ask a vision-language model about a part of a timeline, with the exact time of each frame.

    python examples/vlm_messages.py TIMELINE START STOP QUESTION > request.json
    curl http://127.0.0.1:8000/v1/chat/completions --json @request.json

The cache is that of ``$FRAMECACHE_URL``. ``--images`` makes a request that every server with
OpenAI's chat API takes; without it, the request is one for vLLM, with the times of the frames.
"""

import argparse
import json
from typing import Any

from framecache import FrameCache, VlmClip


def request_of(clip: VlmClip, question: str, *, model: str, images: bool) -> dict[str, Any]:
    """Return the body of a chat request about a clip."""
    parts = clip.image_parts if images else [clip.video_part]
    content = [*parts, {"type": "text", "text": question}]
    body = {"model": model, "messages": [{"role": "user", "content": content}]}
    return body if images else body | {"media_io_kwargs": clip.media_io_kwargs}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("timeline", metavar="TIMELINE")
    parser.add_argument("start", metavar="START", help="seconds, or 1:02.5")
    parser.add_argument("stop", metavar="STOP")
    parser.add_argument("question", metavar="QUESTION")
    parser.add_argument("--model", default="Qwen/Qwen3-VL-8B-Instruct")
    parser.add_argument("--max-frames", type=int, default=32)
    parser.add_argument("--images", action="store_true", help="one message part per frame")
    chosen = parser.parse_args()
    clip = (
        FrameCache()
        .timeline(chosen.timeline)
        .to_vlm(chosen.start, chosen.stop, max_frames=chosen.max_frames)
    )
    body = request_of(clip, chosen.question, model=chosen.model, images=chosen.images)
    print(json.dumps(body))
