"""Building blocks for parameter-efficient methods on unmodified timm Vision Transformers."""
