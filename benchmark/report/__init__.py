"""Tables, figures and a page from whatever is finished; nothing here imports torch.

rows         which results may stand in one table, and which make one row
notes        what a reader has to know about a row
tables       blocks as format-independent tables (model); costs: what methods cost
statistics   what differs beyond noise
fairness     whether rows were earned under the same conditions
paper        the InfLoRA paper's tables, published numbers beside ours
evidence     what stands behind a number: explain, redo, compare
formats      tables as Markdown, LaTeX, CSV and for the terminal
figures      figures as SVG, PDF and PNG
page         everything as one HTML file
build        puts it all into files
"""
