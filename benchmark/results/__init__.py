"""Results of runs: their schema, the store on disk, and tables of them."""
