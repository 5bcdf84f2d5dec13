"""Is it good? Measures, baselines, and a judge that sets a model beside them (notebook 09).

Reading order: clips, statistics, intervals, likeness, structure, melodies, metrics, baselines,
tasks, judging, report, rungs, leaderboard, discriminator, evidence, listening, answers.

- `clips`: the notes of a set of pictures, as one table.
- `statistics`: of each picture, one function a measure.
- `intervals`: chance acts on songs; how well scores tell two sets apart.
- `likeness`: how alike two sets of pictures are.
- `structure`: bars that repeat earlier bars.
- `melodies`: how much of a real melody's phrases came back.
- `metrics`: what stands inside a mask, held against what stood there before.
- `baselines`: what anyone would try first.
- `tasks`: what a model is asked to compose, and the windows that it is asked with.
- `judging`: a model and the baselines at every task, with intervals.
- `report`: the tables as Markdown, JSON, figures and sound.
- `rungs`: many models in one table, each at its best, beside what they cost.
- `leaderboard`: the scores of a class, a file each, as one table.
- `discriminator`: a small network that tries to tell composed regions from real ones.
- `evidence`: what gave a composition away.
- `listening`: a blind test for ears: clips, a page to answer on, and a key.
- `answers`: the answers to it, pooled.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "clips": "Clips read_clips",
        "statistics": "describe",
        "likeness": "compare",
        "structure": "count_repeats similarity draw_structure",
        "metrics": "adherence Region longest_shared",
        "baselines": "",
        "tasks": "TASKS held_out",
        "judging": "Judge",
        "report": "write_report",
        "rungs": "",
        "leaderboard": "read_board",
        "intervals": "rank_auc",
        "discriminator": "tell_apart Verdict",
        "evidence": "draw_evidence",
        "listening": "make_test QUESTIONS",
        "answers": "pool_answers krippendorff_alpha",
    },
)
