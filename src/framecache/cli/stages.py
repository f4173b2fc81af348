"""Selection of jobs and stages on the command line."""

from collections.abc import Sequence

from framecache._overlays import Overlays
from framecache.errors import NotCached
from framecache.timeline import Timeline


def select_stages(timeline: Timeline, names: Sequence[str]) -> list[Overlays]:
    """Return the overlays of whole jobs, given as ``JOB``, or single stages, ``JOB/STAGE``.

    Raises:
        NotCached: a job or stage has no overlays on the timeline.
    """
    jobs = timeline.jobs() if names else {}
    chosen: list[Overlays] = []
    for name in names:
        job_id, _, stage = name.partition("/")
        stages = [one for one in jobs.get(job_id, {}) if stage in {"", one}]
        if not stages:
            drawn = ", ".join(f"{job}/{one}" for job, several in jobs.items() for one in several)
            raise NotCached(
                f"job {name} has no overlays on timeline {timeline.timeline_id}; "
                f"{f'it has those of {drawn}' if drawn else 'it has none'}"
            )
        chosen += [timeline.overlays(job_id=job_id, stage=one) for one in stages]
    return list({(one.job_id, one.stage): one for one in chosen}.values())
