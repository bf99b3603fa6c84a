"""Joint fine-tuning on all classes at once: the upper bound."""

from __future__ import annotations

from benchmark import Method, register


@register("joint")
class Joint(Method):
    """Fine-tunes the whole network on the classes of all tasks together.

    The stream is one task with all classes, so the inherited loss is the cross-entropy over all of
    them. Expanded parameters: 0.

    Its optimizer settings in the InfLoRA paper are not published; it uses the recipe of
    `sequential`.
    """

    role = "bound"
    stream = "joint"
