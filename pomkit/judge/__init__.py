"""Is it good? Measures, baselines, and a judge that sets a model beside them (notebook 09).

Reading order: metrics, baselines, judging.

- `metrics`: of one set of pictures, between two sets, and inside a mask.
- `baselines`: what anyone would try first.
- `judging`: the tasks, their tables, the report.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "metrics": "describe compare adherence Region longest_shared",
        "baselines": "",
        "judging": "Judge TASKS held_out",
    },
)
