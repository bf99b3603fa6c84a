"""One continual-learning method per file, found by name through `@register("name")`."""
