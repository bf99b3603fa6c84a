"""Tables and figures from whatever is finished; nothing here imports torch.

`blocks` groups results into what may be compared, `tables` makes neutral tables of them, the
writers (`terminal`, `markdown`, `latex`, `csv_table`) and `figures` only present, `build` puts
everything into files.
"""
