"""Array functions over recordings, and the report.

`trajectories` computes from plain arrays, anybody's; `evolution` gathers what one session's
figures show; `figures` and `pictures` draw it, in the `style` of the house; `report` writes the
page, `inspect` says in tables what a recording holds, and `words` writes numbers for people.

Only `figures`, `pictures`, `style` and `report` load matplotlib, and nothing here loads torch.
"""
