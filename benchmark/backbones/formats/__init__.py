"""The layouts of weight files: each module reads one family's into timm's names."""
