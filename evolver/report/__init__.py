"""The report of a recording: one page, its figures, and tables for the terminal.

    evolution       what one session's figures show, gathered from its recording
    figures, pictures, metric_figure    drawn, in the `style` of the house
    page            the report as one HTML page
    tables          what a recording holds, in tables
    words           numbers for people

Only `figures`, `pictures`, `style`, `metric_figure` and `page` load matplotlib; nothing here
loads torch.
"""
