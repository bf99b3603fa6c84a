"""The InfLoRA paper's tables: published numbers with their sources, and ours beside them."""
