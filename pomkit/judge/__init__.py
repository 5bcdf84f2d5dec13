"""Is it good? Measures, baselines, and a judge that sets a model beside them (notebook 09).

Reading order: clips, statistics, likeness, metrics, baselines, tasks, judging, report.

- `clips`: the notes of a set of pictures, as one table.
- `statistics`: of each picture, one function a measure.
- `likeness`: how alike two sets of pictures are.
- `metrics`: what stands inside a mask, held against what stood there before.
- `baselines`: what anyone would try first.
- `tasks`: what a model is asked to compose, and the windows that it is asked with.
- `judging`: a model and the baselines at every task, with intervals.
- `report`: the tables as Markdown, JSON, figures and sound.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "clips": "Clips read_clips",
        "statistics": "describe",
        "likeness": "compare",
        "metrics": "adherence Region longest_shared",
        "baselines": "",
        "tasks": "TASKS held_out",
        "judging": "Judge",
        "report": "write_report",
    },
)
